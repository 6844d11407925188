"""Figures: entropy against strength per model (1), and model types over sample sets (2)."""

from corrpo.report.figures.scatter import MAX_POINTS, Panel, scatter_svg
from corrpo.report.figures.types import TypeValue, types_svg

__all__ = ["MAX_POINTS", "Panel", "TypeValue", "scatter_svg", "types_svg"]
