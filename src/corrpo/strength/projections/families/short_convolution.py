"""Gated short convolutions of LFM2 and LFM2-MoE: in_proj (input gate, output gate and value), out_proj."""

from torch import nn

from corrpo.strength.projections.module_names import has_modules, under_module_names
from corrpo.strength.projections.projection import Projection


def projections_of(mixer: nn.Module) -> dict[str, Projection] | None:
    """The two linear maps around a depthwise causal convolution `conv`; None for any other module."""
    if not (
        isinstance(getattr(mixer, "conv", None), nn.Conv1d) and has_modules(mixer, "in_proj", "out_proj")
    ):
        return None
    return under_module_names(mixer, ("in_proj", "out_proj"))
