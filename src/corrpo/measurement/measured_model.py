"""What a fingerprint tells of the model that was measured."""

from collections.abc import Sequence
from typing import Any

from corrpo.models.description import describe_model
from corrpo.strength.projections.mixers import find_layers, find_mixers


def describe_measured_model(
    model: Any, name: str | None = None, revision: str | None = None
) -> dict[str, Any]:
    """`describe_model` with attention_layers, the number of its layers that hold a projection "q".

    Raises:
        UnsupportedModelError: weights are offloaded, or no mixer is recognised.
    """
    described = describe_model(model, name, revision)
    beneath = getattr(model, "_orig_mod", model)
    layers = sum("q" in mixer.projections for mixer in find_mixers(beneath))
    before = ("name", "revision", "architecture", "parameters")
    first = {key: described.pop(key) for key in before}
    return {**first, "attention_layers": layers, **described}


def count_layers(model: Any, projections: Sequence[str]) -> int:
    """The layers of a model that hold all of these projections; a model that is compiled too.

    Raises:
        BadInputError: there is none.
        UnsupportedModelError: no mixer is recognised.
    """
    return len(find_layers(getattr(model, "_orig_mod", model), projections))
