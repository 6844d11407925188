"""The recurrent block of Griffin and Hawk (RecurrentGemma): linear_x, linear_y, linear_out.

The gates of its linear recurrent unit are block-diagonal bare parameters, which no forward hook sees; they
are left out.
"""

from torch import nn

from corrpo.strength.projections.layer import Projection
from corrpo.strength.projections.own_names import has_modules, under_own_names

_NAMES = ("linear_x", "linear_y", "linear_out")


def griffin_projections(mixer: nn.Module) -> dict[str, Projection] | None:
    """The three linear maps around a recurrent unit `rg_lru`; None for any other module."""
    return under_own_names(mixer, _NAMES) if has_modules(mixer, "rg_lru", *_NAMES) else None
