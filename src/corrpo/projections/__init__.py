"""Where the Q, K, V and O projections are in each attention family; one file per family."""

from collections.abc import Callable, Sequence

from torch import nn

from corrpo.errors import BadInputError, UnsupportedModelError
from corrpo.projections.layer import PROJECTIONS, AttentionLayer
from corrpo.projections.separate import separate_projections

__all__ = ["PROJECTIONS", "AttentionLayer", "find_attention_layers", "select_layers"]

_FAMILIES: tuple[Callable[[nn.Module], list[AttentionLayer]], ...] = (separate_projections,)


def find_attention_layers(model: nn.Module) -> list[AttentionLayer]:
    """The attention layers of a causal LM, in the order of the forward pass.

    Raises:
        UnsupportedModelError: no family of corrpo recognises the model's attention.
    """
    for family in _FAMILIES:
        if layers := family(model):
            return layers
    raise UnsupportedModelError(
        f"{type(model).__name__}: no attention layer with separate linear q_proj, k_proj, v_proj and o_proj "
        "was found. corrpo measures Llama, Mistral, Qwen2, Qwen3, Gemma 2, Gemma 3, OLMo-2 and models laid "
        "out like them; fused projections (GPT-2, Phi-3, ...) are not supported yet."
    )


def select_layers(found: Sequence[AttentionLayer], layers: Sequence[int] | None) -> list[AttentionLayer]:
    """The attention layers with the given indices; all of them for None.

    Negative indices count from the end. The order is that of `layers`.

    Raises:
        BadInputError: an index outside the model, a repeated one, or none at all.
    """
    if layers is None:
        return list(found)
    n = len(found)
    outside = [i for i in layers if not -n <= i < n]
    if outside or not layers:
        raise BadInputError(f"layers={list(layers)}: expected indices in [{-n}, {n - 1}], at least one")
    chosen = [i % n for i in layers]
    if len(set(chosen)) < len(chosen):
        raise BadInputError(f"layers={list(layers)}: a layer is named twice (of {n} layers)")
    return [found[i] for i in chosen]
