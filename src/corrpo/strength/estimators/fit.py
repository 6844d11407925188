"""Which estimators fit which layers of a model, told before anything is computed.

`reference` fits whatever has floating-point weights. The others observe what a module reads and writes, so a
weight that several mixers share, whose gradient is a sum over them, is `reference`'s alone. `last` and `own`
stand in for softmax attention that a model takes from transformers' AttentionInterface, and no other mixer
may come after the first layer measured.
"""

from collections.abc import Sequence

from torch import nn

from corrpo.errors import UnsupportedModelError
from corrpo.strength.projections import PROJECTIONS
from corrpo.strength.projections.layer import MixerLayer
from corrpo.strength.projections.mixers import find_mixers

_SOFTMAX_ATTENTION = ("eager", "sdpa", "flash_attention", "flex_attention", "paged|", "corrpo_")


def check_fit(model: nn.Module, layers: Sequence[MixerLayer], projections: Sequence[str], name: str) -> None:
    """Raise if estimator `name` cannot measure these layers.

    Args:
        model: a causal LM.
        layers: the layers measured, of `find_layers`.
        projections: the names measured, which every layer holds.
        name: the estimator.

    Raises:
        UnsupportedModelError: the message gives the reason and the estimators that fit.
    """
    if reason := misfit(model, layers, projections, name):
        others = (other for other in ("exact", "own", "last") if other != name)
        fitting = [other for other in others if not misfit(model, layers, projections, other)]
        *most, final = (repr(other) for other in (*fitting, "reference"))
        use = f"{', '.join(most)} or {final}" if most else final
        raise UnsupportedModelError(f"estimator {name!r} {reason}; use {use}")


def fitting_estimators(
    model: nn.Module, layers: Sequence[MixerLayer], projections: Sequence[str]
) -> list[str]:
    """The estimators that fit these layers, of "exact", "last", "own" and "reference"; see `check_fit`."""
    names = ("exact", "last", "own", "reference")
    return [name for name in names if not misfit(model, layers, projections, name)]


def misfit(
    model: nn.Module, layers: Sequence[MixerLayer], projections: Sequence[str], name: str
) -> str | None:
    """Why estimator `name` does not fit these layers, or None where it does; see `check_fit`."""
    if name == "reference":
        return None
    if _sees_ahead(model):
        return f"reads up to its targets, and the tokens of this {type(model).__name__} see those after them"
    mixers = find_mixers(model)
    if reason := _shared_weight(mixers, layers, projections):
        return reason
    return _not_attention(model, mixers, layers, name) if name in ("last", "own") else None


def takes_attention_function(model: nn.Module) -> bool:
    """Whether the model takes its attention function from transformers' AttentionInterface.

    And whether it is one that computes plain softmax attention there, not one that a user registered.
    """
    if _registered_by_user(model):
        return False
    can_swap = getattr(model, "_can_set_attn_implementation", None)
    return hasattr(model, "set_attn_implementation") and can_swap is not None and can_swap()


def _registered_by_user(model: nn.Module) -> str | None:
    """The name of an attention function of a model that is neither transformers', a hub kernel nor ours."""
    for module in model.modules():
        name = getattr(getattr(module, "config", None), "_attn_implementation", None)
        if isinstance(name, str) and not name.startswith(_SOFTMAX_ATTENTION) and "/" not in name:
            return name
    return None


def _sees_ahead(model: nn.Module) -> bool:
    config = model.config.get_text_config()  # pyright: ignore
    both_ways = getattr(config, "use_bidirectional_attention", None) in (True, "all")
    return both_ways or not getattr(config, "is_causal", True)


def _shared_weight(
    mixers: Sequence[MixerLayer], layers: Sequence[MixerLayer], projections: Sequence[str]
) -> str | None:
    """Two mixers of the model with one weight, of which a measured projection is one."""
    holders: dict[int, set[str]] = {}
    for mixer in mixers:
        for projection in mixer.projections.values():
            if (weight := getattr(projection.module, "weight", None)) is not None:
                holders.setdefault(id(weight), set()).add(mixer.name)
    for layer in layers:
        for kind in projections:
            found = holders.get(id(getattr(layer.projections[kind].module, "weight", None)), set())
            if len(found) > 1:
                return (
                    f"observes one layer at a time, and {' and '.join(sorted(found))} share the weights of "
                    f"{kind}, whose gradient is the sum over them"
                )
    return None


def _not_attention(
    model: nn.Module, mixers: Sequence[MixerLayer], layers: Sequence[MixerLayer], name: str
) -> str | None:
    """A measured mixer that is not softmax attention, or one that comes after the first measured layer."""
    for layer in layers:
        if not set(PROJECTIONS) <= set(layer.projections):
            return f"measures softmax attention alone, and {layer.name} is a {type(layer.mixer).__name__}"
    if own := _registered_by_user(model):
        return f"replaces the attention function, and the model's, {own!r}, is not one of transformers'"
    if not takes_attention_function(model):
        return (
            f"replaces the attention function, and {type(model).__name__} does not take its own from "
            "transformers' AttentionInterface"
        )
    first = layers[-1] if name == "last" else min(layers, key=lambda layer: layer.index)
    block = first.name.rpartition(".")[0]
    for mixer in mixers[first.index + 1 :]:
        beside = mixer.name.rpartition(".")[0] == block
        if not beside and not set(PROJECTIONS) <= set(mixer.projections):
            return (
                "needs a model in which attention alone mixes positions, and "
                f"{mixer.name} ({type(mixer.mixer).__name__}) does too"
            )
    return None
