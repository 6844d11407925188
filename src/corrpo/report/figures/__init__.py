"""Figures, a file each; every function returns a `Drawing`, and knows nothing of files and results.

1 entropy against strength (scatter), 2 model types over sample sets (types), 3 rho over training (dynamics),
4 accuracy against rho (performance), 5 runs side by side (runs).
"""

from corrpo.report.figures.drawing import FORMATS, Drawing
from corrpo.report.figures.scatter import MAX_POINTS, Panel, scatter_figure
from corrpo.report.figures.types import TypeValue, types_figure

__all__ = ["FORMATS", "MAX_POINTS", "Drawing", "Panel", "TypeValue", "scatter_figure", "types_figure"]
