"""Figures, a file each; every function returns a `Drawing`, and knows nothing of files and results.

1 entropy against strength (scatter), 2 model types over sample sets (types), 3 rho over training (dynamics),
4 accuracy against rho (performance), 5 runs side by side (runs).
"""

from corrpo.report.figures.rho_by_model_type import TypeValue, types_figure
from corrpo.report.figures.token_scatter import Panel, scatter_figure
from corrpo.report.plotting.drawing import FORMATS, Drawing

__all__ = ["FORMATS", "Drawing", "Panel", "TypeValue", "scatter_figure", "types_figure"]
