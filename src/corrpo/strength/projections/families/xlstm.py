"""mLSTM layers of xLSTM: q, k, v, the gates ogate_preact, igate_preact and fgate_preact, and out_proj.

The output projection keeps its own name, so that the default projections q, k, v, o, which mean softmax
attention, are not taken for these. Layers of weight_mode "fused" are not known: transformers 5.23 cannot
build one.
"""

from torch import nn

from corrpo.strength.projections.module_names import has_modules, under_module_names
from corrpo.strength.projections.projection import Projection

_NAMES = ("q", "k", "v", "ogate_preact", "igate_preact", "fgate_preact", "out_proj")


def projections_of(mixer: nn.Module) -> dict[str, Projection] | None:
    """The linear maps around an mLSTM recurrence `mlstm_backend`; None for any other module."""
    return under_module_names(mixer, _NAMES) if has_modules(mixer, "mlstm_backend", *_NAMES) else None
