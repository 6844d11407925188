"""RWKV-4 time mixing: receptance, key, value, output.

Its channel mixing (the feed-forward) holds a key, a value and a receptance too, and looks one token back; it
has no time_decay and is not measured.
"""

from torch import nn

from corrpo.strength.projections.module_names import has_modules, has_parameters, under_module_names
from corrpo.strength.projections.projection import Projection

_NAMES = ("receptance", "key", "value", "output")


def projections_of(mixer: nn.Module) -> dict[str, Projection] | None:
    """The four linear maps of a module with a time_decay; None for any other."""
    if not (has_parameters(mixer, "time_decay") and has_modules(mixer, *_NAMES)):
        return None
    return under_module_names(mixer, _NAMES)
