"""Selective state spaces: Mamba and Mamba-2, alone or in a hybrid model.

Mamba, FalconMamba and Jamba: in_proj, x_proj, dt_proj, out_proj. Mamba-2, Bamba, Zamba2, NemotronH, FalconH1
and GraniteMoeHybrid: in_proj and out_proj. Zamba holds one x_proj and dt_proj per head as bare parameters,
which no forward hook sees, so in_proj and out_proj are measured there. The decay A_log and the depthwise
convolution are no projections and are left out. The mixers use the weight of dt_proj by themselves.
"""

from dataclasses import replace

from torch import nn

from corrpo.strength.projections.module_names import has_modules, has_parameters, under_module_names
from corrpo.strength.projections.projection import Projection


def projections_of(mixer: nn.Module) -> dict[str, Projection] | None:
    """The linear maps of a mixer with A_log, D, a causal convolution, in_proj and out_proj; else None."""
    if not (has_parameters(mixer, "A_log", "D") and has_modules(mixer, "conv1d", "in_proj", "out_proj")):
        return None
    projections = under_module_names(mixer, ("in_proj", "x_proj", "dt_proj", "out_proj"))
    return {name: replace(projection, bare=name == "dt_proj") for name, projection in projections.items()}
