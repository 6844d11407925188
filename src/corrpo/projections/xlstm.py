"""mLSTM layers of xLSTM: q, k, v, the three gates and out_proj, or their fused forms.

weight_mode "single": q, k, v, ogate_preact, igate_preact, fgate_preact, out_proj. "fused": qkv_opreact,
ifgate_preact, out_proj. The output projection keeps its name out_proj, so that the default projections
q, k, v, o, which mean softmax attention, are not taken for these.
"""

from torch import nn

from corrpo.projections.layer import Projection
from corrpo.projections.own_names import has_modules, under_own_names

_NAMES = ("q", "k", "v", "ogate_preact", "igate_preact", "fgate_preact", "qkv_opreact", "ifgate_preact")


def xlstm_projections(mixer: nn.Module) -> dict[str, Projection] | None:
    """The linear maps around an mLSTM recurrence `mlstm_backend`; None for any other module."""
    if not has_modules(mixer, "mlstm_backend", "out_proj"):
        return None
    return under_own_names(mixer, (*_NAMES, "out_proj"))
