"""Attention with four separate linear modules q_proj, k_proj, v_proj and o_proj (or out_proj, or dense).

Llama, Mistral, Qwen2, Qwen3, Gemma 2 and 3, OLMo-2, OPT, Phi, GPT-J, GPT-Neo, Mixtral, Qwen3-MoE, gpt-oss and
their many relatives. Biases, q/k norms, sliding windows, soft-capping, sinks and gates with a module of their
own live between or beside the four modules and need no mention here.
"""

from torch import nn

from corrpo.errors import UnsupportedModelError
from corrpo.strength.projections.fused import output_width
from corrpo.strength.projections.projection import Projection


def projections_of(mixer: nn.Module) -> dict[str, Projection] | None:
    """The four projections of a module that holds them all; None for any other.

    Linear attention with a decay has modules of these names too, and is another family's.

    Raises:
        UnsupportedModelError: the sizes tell that one of them computes something else besides.
    """
    outputs = [getattr(mixer, name, None) for name in ("o_proj", "out_proj", "dense")]
    candidates = {kind: getattr(mixer, f"{kind}_proj", None) for kind in "qkv"}
    candidates["o"] = next((module for module in outputs if isinstance(module, nn.Module)), None)
    modules = {kind: module for kind, module in candidates.items() if isinstance(module, nn.Module)}
    if len(modules) < len(candidates) or hasattr(mixer, "A_log") or hasattr(mixer, "forget_gate"):
        return None
    _check_sizes(mixer, modules)
    return {kind: Projection(module) for kind, module in modules.items()}


def _check_sizes(mixer: nn.Module, modules: dict[str, nn.Module]) -> None:
    """Queries per key head must be outputs per value head: a q_proj that makes a gate too breaks it."""
    q, k, v = (output_width(modules[kind]) for kind in "qkv")
    o = getattr(getattr(modules["o"], "base_layer", modules["o"]), "in_features", None)
    if q is None or k is None or v is None or o is None or q * v == o * k:
        return
    raise UnsupportedModelError(
        f"{type(mixer).__module__}.{type(mixer).__name__}: q_proj, k_proj and v_proj have {q}, {k} and {v} "
        f"output features and the output projection reads {o}; expected q / k = o / v. One of them computes "
        "something else besides, which corrpo does not know: add its family as docs/MODELS.md tells"
    )
