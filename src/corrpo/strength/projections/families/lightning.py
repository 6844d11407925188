"""Lightning attention (MiniMax), linear attention with a fixed decay: qkv_proj, output_gate, out_proj.

The features of qkv_proj pass a SiLU before they are taken for queries, keys and values, and no softmax
follows; all of it is measured, under its own name.
"""

from torch import nn

from corrpo.strength.projections.module_names import has_modules, under_module_names
from corrpo.strength.projections.projection import Projection

_NAMES = ("qkv_proj", "output_gate", "out_proj")


def projections_of(mixer: nn.Module) -> dict[str, Projection] | None:
    """The three linear maps of a mixer with a fixed slope_rate of decay; None for any other."""
    if not (hasattr(mixer, "slope_rate") and has_modules(mixer, *_NAMES)):
        return None
    return under_module_names(mixer, _NAMES)
