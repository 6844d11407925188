"""Figure 5: runs side by side over training, rho above and accuracy below, a column for each family."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from corrpo.report.figures.rho_over_training import (
    WIDE,
    RunsPanel,
    add_legend,
    draw_panel,
    line_looks,
    signed_axis,
)
from corrpo.report.plotting.drawing import Drawing, numbers_table
from corrpo.report.plotting.figure_style import figure_style, label
from corrpo.report.plotting.run_lines import Axis, Line, StepAxis


@dataclass(frozen=True)
class RunsColumn:
    """One family: rho of its runs, and their accuracy in per cent where it was evaluated."""

    title: str
    rho: tuple[Line, ...]
    accuracy: tuple[Line, ...] = ()


def runs_figure(
    name: str,
    columns: Sequence[RunsColumn],
    *,
    axis: Axis = "steps",
    rho_label: str,
    accuracy_label: str = "accuracy (%)",
) -> Drawing:
    """The figure and its numbers; without accuracies the lower row is left out.

    Args:
        name: of the figure, the beginning of its ids.
        columns: one or more.
        axis: of the steps; see `lines.Axis`.
        rho_label: of the upper y axis.
        accuracy_label: of the lower one.
    """
    looks = line_looks([line for column in columns for line in (*column.rho, *column.accuracy)])
    both = any(column.accuracy for column in columns)
    rows: list[dict] = []
    with figure_style(name):
        width = 4.6 if len(columns) == 1 else max(WIDE, 1.8 * len(columns))
        figure = Figure(figsize=(width, 2.2 * (1 + both) + 0.4), layout="constrained")
        grid = figure.subplots(1 + both, len(columns), sharey="row", sharex="col", squeeze=False)
        for number, column in enumerate(columns):
            places = StepAxis((*column.rho, *column.accuracy), axis)
            panel = RunsPanel(column.title, column.rho)
            drawn = draw_panel(grid[0, number], panel, places, looks, bottom=not column.accuracy)
            rows += [{"quantity": "rho", **row} for row in drawn]
            if both and column.accuracy:
                panel = RunsPanel("", column.accuracy)
                drawn = draw_panel(grid[1, number], panel, places, looks, top=False)
                rows += [{"quantity": "accuracy", **row, "panel": column.title} for row in drawn]
            elif both:
                grid[1, number].set_axis_off()
        grid[0, 0].set_ylabel(rho_label)
        signed_axis(grid[0, 0])
        if both:
            grid[1, 0].set_ylabel(label(accuracy_label, 60))
            grid[1, 0].set_ylim(bottom=0)
        add_legend(figure, looks)
        return Drawing(name, figure, numbers_table(rows))
