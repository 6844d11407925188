"""Figure 3: the correlation over training, a line for each run, a panel for each family."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from corrpo.report.figures.drawing import Drawing, numbers_table
from corrpo.report.figures.lines import Axis, Line, StepAxis, draw_line, draw_steps, panel_name
from corrpo.report.figures.style import INK, OTHER_COLOURS, OTHER_MARKERS, figure_style, label

COLOURS = ("#004488", "#BB5566", "#DDAA33", *OTHER_COLOURS)
MARKERS = ("o", "^", "s", *OTHER_MARKERS)
PUBLISHED = ("#555555", "#999999", "#777777")


@dataclass(frozen=True)
class RunsPanel:
    """One panel: its title and its runs."""

    title: str
    lines: tuple[Line, ...]


def dynamics_figure(
    name: str, panels: Sequence[RunsPanel], *, axis: Axis = "steps", value_label: str
) -> Drawing:
    """The figure and its numbers.

    Args:
        name: of the figure, the beginning of its ids.
        panels: one or more, each with a line or more.
        axis: of the steps; see `lines.Axis`.
        value_label: of the y axis.
    """
    looks = line_looks([line for panel in panels for line in panel.lines])
    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    rows_of_data: list[dict] = []
    with figure_style(name):
        width = 6.8 if columns == 2 else 4.6
        figure = Figure(figsize=(width, 2.5 * rows + 0.35), layout="constrained")
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for place in grid.flat[len(panels) :]:
            place.set_axis_off()
        for place, panel in zip(grid.flat, panels, strict=False):
            rows_of_data += draw_panel(place, panel, axis, looks)
        signed_axis(grid[0, 0])
        figure.supylabel(value_label, fontsize=7.5, multialignment="center")
        add_legend(figure, looks)
        return Drawing(name, figure, numbers_table(rows_of_data))


Looks = dict[tuple[str, bool], tuple[str, str]]
"""Colour and marker of each line, by its label and whether it was published."""


def line_looks(lines: Sequence[Line]) -> Looks:
    """A colour and a marker for each label, those of published curves in grey."""
    looks: Looks = {}
    for line in lines:
        key = (line.label, line.published)
        if key not in looks:
            number = sum(published == line.published for _, published in looks)
            colours = PUBLISHED if line.published else COLOURS
            looks[key] = (colours[number % len(colours)], MARKERS[number % len(MARKERS)])
    return looks


def draw_panel(axes: Axes, panel: RunsPanel, axis: Axis, looks: Looks, *, bottom: bool = True) -> list[dict]:
    """Draw all runs of a panel; returns a row for each value."""
    places = StepAxis(panel.lines, axis)
    axes.axhline(0, color=INK, linewidth=0.7, zorder=1)
    draw_steps(axes, panel.lines, places)
    rows = []
    for line in panel.lines:
        drawn = draw_line(axes, line, places, *looks[line.label, line.published])
        rows += [{"panel": panel.title, **row} for row in drawn]
    panel_name(axes, panel.title, above_stages=bool(places.boundaries))
    if bottom:
        axes.set_xlabel(places.title)
    return rows


def signed_axis(axes: Axes) -> None:
    """Tick labels with a true minus sign."""
    axes.locator_params(axis="y", nbins=6)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.10g}".replace("-", "−")))


def add_legend(figure: Figure, looks: Looks) -> None:
    """A legend above all panels, if there is more than one line to tell apart."""
    if len(looks) < 2 and not any(published for _, published in looks):
        return
    handles = [
        Line2D(
            [],
            [],
            color=colour,
            marker=marker,
            markersize=3.4,
            linewidth=1.2,
            linestyle=(0, (3, 2)) if published else "-",
            markerfacecolor="white" if published else colour,
        )
        for (_, published), (colour, marker) in looks.items()
    ]
    columns = min(len(handles), 3)
    legend = figure.legend(handles, [" "] * len(handles), loc="outside upper center", ncols=columns)
    for text, (name, _) in zip(legend.get_texts(), looks, strict=True):
        text.set_text(label(name, 42))
