"""Why an estimator cannot measure some layers of a model: the reasons that records of estimators give.

Estimators other than `reference` observe what a module reads and writes, so a weight that several mixers
share, whose gradient is a sum over them, is not theirs. Those that stand in for softmax attention need a
model that takes its own from transformers' AttentionInterface, and no other mixer after the first layer
measured.
"""

from collections.abc import Sequence

from torch import nn

from corrpo.strength.attention.replacement import attention_of_user, takes_attention_function
from corrpo.strength.projections import PROJECTIONS
from corrpo.strength.projections.mixers import find_mixers
from corrpo.strength.projections.projection import MixerLayer


def misfit_of_observed_outputs(
    model: nn.Module, layers: Sequence[MixerLayer], projections: Sequence[str]
) -> str | None:
    """Why what projections read and write does not give their gradients, or None where it does."""
    if _sees_ahead(model):
        return f"reads up to its targets, and the tokens of this {type(model).__name__} see those after them"
    return _shared_weight(find_mixers(model), layers, projections)


def misfit_of_replaced_attention(
    model: nn.Module,
    layers: Sequence[MixerLayer],
    projections: Sequence[str],
    first: MixerLayer | None = None,
) -> str | None:
    """Why another attention function cannot stand in from layer `first` on, or None where it can.

    `first` is the lowest of the measured layers if not given. The reasons of `misfit_of_observed_outputs`
    come first.
    """
    if reason := misfit_of_observed_outputs(model, layers, projections):
        return reason
    lowest = first or min(layers, key=lambda layer: layer.index)
    return _not_attention(model, find_mixers(model), layers, lowest)


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
            owners = holders.get(id(getattr(layer.projections[kind].module, "weight", None)), set())
            if len(owners) > 1:
                return (
                    f"observes one layer at a time, and {' and '.join(sorted(owners))} share the weights of "
                    f"{kind}, whose gradient is the sum over them"
                )
    return None


def _not_attention(
    model: nn.Module, mixers: Sequence[MixerLayer], layers: Sequence[MixerLayer], first: MixerLayer
) -> str | None:
    """A measured mixer that is not softmax attention, or one that comes after the first measured layer."""
    for layer in layers:
        if not set(PROJECTIONS) <= set(layer.projections):
            return f"measures softmax attention alone, and {layer.name} is a {type(layer.mixer).__name__}"
    if name := attention_of_user(model):
        return f"replaces the attention function, and the model's, {name!r}, is not one of transformers'"
    if not takes_attention_function(model):
        return (
            f"replaces the attention function, and {type(model).__name__} does not take its own from "
            "transformers' AttentionInterface"
        )
    block = first.name.rpartition(".")[0]
    for mixer in mixers[first.index + 1 :]:
        beside = mixer.name.rpartition(".")[0] == block
        if not beside and not set(PROJECTIONS) <= set(mixer.projections):
            return (
                "needs a model in which attention alone mixes positions, and "
                f"{mixer.name} ({type(mixer.mixer).__name__}) does too"
            )
    return None
