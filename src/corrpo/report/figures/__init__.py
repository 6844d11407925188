"""The figures of reports: the table of their names, and a module of the same name for each.

A module defines one record, `FIGURE` (see `corrpo.report.figures.figure`), and is imported when its figure
is drawn: nothing heavy is imported here.
"""

from typing import Literal, get_args

from corrpo.errors import RecordTable

FigureName = Literal[
    "token_scatter",
    "rho_by_model_type",
    "rho_over_training",
    "accuracy_and_rho_at_checkpoints",
    "runs_side_by_side",
    "arm_differences",
    "arm_accuracy_and_rho",
    "arm_accuracy_and_cost",
]
FIGURES = RecordTable("figure", "FIGURE", {name: f"{__name__}.{name}" for name in get_args(FigureName)})
"""In the order in which a report writes their files."""
