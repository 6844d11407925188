"""Figure 3: the correlation over training, a line for each run, a panel for each family."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from corrpo.report.plotting.drawing import Drawing, numbers_table
from corrpo.report.plotting.figure_style import (
    INK,
    OTHER_COLOURS,
    OTHER_MARKERS,
    figure_style,
    label,
    signed_number,
)
from corrpo.report.plotting.run_lines import Axis, Line, StepAxis, draw_line, draw_names, draw_steps

COLOURS = ("#004488", "#BB5566", "#DDAA33", *OTHER_COLOURS)
MARKERS = ("o", "^", "s", *OTHER_MARKERS)
PUBLISHED = ("#555555", "#999999", "#777777")
WIDE = 6.8
"""Width of a figure that takes both columns of a page, in inches."""


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
        width = WIDE if columns == 2 else 4.6
        figure = Figure(figsize=(width, 2.5 * rows + 0.35), layout="constrained")
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for place in grid.flat[len(panels) :]:
            place.set_axis_off()
        for place, panel in zip(grid.flat, panels, strict=False):
            rows_of_data += draw_panel(place, panel, StepAxis(panel.lines, axis), looks)
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


def draw_panel(
    axes: Axes, panel: RunsPanel, places: StepAxis, looks: Looks, *, top: bool = True, bottom: bool = True
) -> list[dict]:
    """Draw all runs of a panel.

    Args:
        axes: empty.
        panel: its title and its runs.
        places: made of these runs, or of more that are to have the same x axis.
        looks: of all lines; see `line_looks`.
        top: write the title and the stages.
        bottom: write what the x axis is.

    Returns:
        A row for each value.
    """
    axes.axhline(0, color=INK, linewidth=0.7, zorder=1)
    draw_steps(axes, places)
    rows = []
    for line in panel.lines:
        drawn = draw_line(axes, line, places, *looks[line.label, line.published])
        rows += [{"panel": panel.title, **row} for row in drawn]
    if top:
        draw_names(axes, panel.title, places)
    if bottom:
        axes.set_xlabel(places.title)
        axes.tick_params(labelbottom=True)
    return rows


def signed_axis(axes: Axes) -> None:
    """Tick labels with a true minus sign."""
    axes.locator_params(axis="y", nbins=6)
    axes.yaxis.set_major_formatter(FuncFormatter(signed_number))


def add_legend(figure: Figure, looks: Looks) -> None:
    """A legend above all panels, if there is more than one line to tell apart; published lines come last."""
    if len(looks) < 2 and not any(published for _, published in looks):
        return
    entries = sorted(looks.items(), key=lambda entry: entry[0][1])
    for columns in range(min(len(entries), 4), 0, -1):
        rows = -(-len(entries) // columns)
        if columns > 1 and -(-len(entries) // rows) != columns:
            continue
        legend = figure.legend(
            [_handle(*look, published=published) for (_, published), look in entries],
            [" "] * len(entries),
            loc="outside upper center",
            ncols=columns,
        )
        for text, ((name, _), _) in zip(legend.get_texts(), entries, strict=True):
            text.set_text(label(name, 42))
        if columns == 1 or legend.get_window_extent().width < 0.97 * figure.bbox.width:
            return
        legend.remove()


def _handle(colour: str, marker: str, *, published: bool) -> Line2D:
    look = {"color": colour, "marker": marker, "markersize": 3.4, "linewidth": 1.2}
    if published:
        look |= {"linestyle": (0, (3, 2)), "markerfacecolor": "white"}
    return Line2D([], [], **look)
