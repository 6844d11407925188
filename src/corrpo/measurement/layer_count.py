"""How many layers a measurement's layers are numbered among: those that hold the measured projections."""

from collections.abc import Mapping
from typing import Any

from corrpo.strength.projections import PROJECTIONS

LAYER_COUNT = "projection_layers"
"""What it is called in the record of a measured model."""


def layer_count(model: Mapping[str, Any], settings: Mapping[str, Any]) -> int | None:
    """By the records of a fingerprint; None where one of an older version does not tell.

    Older versions tell how many layers have attention: in a hybrid, other layers hold other projections.

    >>> layer_count({"attention_layers": 4}, {"projections": ["q", "o"]})
    4
    >>> layer_count({"attention_layers": 4}, {"projections": ["in", "out"]})
    """
    count = model.get(LAYER_COUNT)
    if count is None and set(settings.get("projections") or ()) <= set(PROJECTIONS):
        count = model.get("attention_layers")
    return count if isinstance(count, int) and count > 0 else None
