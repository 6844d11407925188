"""The recurrent block of Griffin and Hawk (RecurrentGemma): linear_x, linear_y, linear_out.

The gates of its linear recurrent unit are block-diagonal bare parameters, which no forward hook sees; they
are left out.
"""

from torch import nn

from corrpo.strength.projections.module_names import has_modules, under_module_names
from corrpo.strength.projections.projection import Projection

_NAMES = ("linear_x", "linear_y", "linear_out")


def projections_of(mixer: nn.Module) -> dict[str, Projection] | None:
    """The three linear maps around a recurrent unit `rg_lru`; None for any other module."""
    return under_module_names(mixer, _NAMES) if has_modules(mixer, "rg_lru", *_NAMES) else None
