"""Runs as lines over steps: panels with intervals, gaps and stages, a look for each run, one legend."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from corrpo.report.plotting.figure_style import INK, OTHER_COLOURS, OTHER_MARKERS, label, signed_number
from corrpo.report.plotting.step_axis import StepAxis, draw_names, draw_steps
from corrpo.report.run_series import Line

COLOURS = ("#004488", "#BB5566", "#DDAA33", *OTHER_COLOURS)
MARKERS = ("o", "^", "s", *OTHER_MARKERS)
PUBLISHED = ("#555555", "#999999", "#777777")
WIDE = 6.8
"""Width of a figure that takes both columns of a page, in inches."""
Point = tuple[float, float | None, float | None, float | None]
"""x, value, low, high; None breaks the line."""


@dataclass(frozen=True)
class RunsPanel:
    """One panel: its title and its runs."""

    title: str
    lines: tuple[Line, ...]


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
    """Draw all runs of a panel on empty axes; a row for each value.

    `top` writes the title and the stages, `bottom` what the x axis is. `places` may be made of more runs than
    these, which are to have the same x axis.
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
    """A legend above all panels, if there is more than one line to tell apart; published lines come last.

    The figure grows by its height, so that panels are as high as without it.
    """
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
        extent = legend.get_window_extent()
        if columns == 1 or extent.width < 0.97 * figure.bbox.width:
            figure.set_figheight(figure.get_figheight() + extent.height / figure.dpi)
            return
        legend.remove()


def _handle(colour: str, marker: str, *, published: bool) -> Line2D:
    look = {"color": colour, "marker": marker, "markersize": 3.4, "linewidth": 1.2}
    if published:
        look |= {"linestyle": (0, (3, 2)), "markerfacecolor": "white"}
    return Line2D([], [], **look)


def draw_line(axes: Axes, line: Line, places: StepAxis, colour: str, marker: str) -> list[dict]:
    """Draw a run with its intervals; a value that does not exist is a gap with a cross at the foot.

    Where a stage is shorter than its room, a dotted level leads to the next one: no step was made there.
    Gives a row for each value: series, stage, step, x, value, low, high, published, source.
    """
    points, levels = _points_and_levels(line, places)
    x, value, low, high = np.array(points, dtype=np.float64).reshape(-1, 4).T
    axes.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0, zorder=1)
    style = (0, (3, 2)) if line.published else "-"
    axes.plot(x, value, color=colour, linewidth=1.2, linestyle=style, zorder=3)
    for start, end, level in levels:
        axes.hlines(level, start, end, color=colour, linewidth=0.8, linestyle=(0, (1, 2)), zorder=2)
    rows = _rows(line, places)
    _draw_marks(axes, rows, colour, marker, filled=not line.published)
    return rows


def _points_and_levels(line: Line, places: StepAxis) -> tuple[list[Point], list[tuple[float, float, float]]]:
    """The points of the line, and (from, to, value) of the levels between a stage's end and the next one.

    A stage begins with what the one before it ended with, unless its step 0 was measured; after a stage of
    which there is no value, there is a gap.
    """
    points: list[Point] = []
    levels = []
    for n, part in enumerate(line.parts):
        begins = places.start(line, n)
        if points and line.room(n) > line.room(n - 1) + 1:
            points.append((points[-1][0], None, None, None))
        elif points and points[-1][0] < begins:
            x, value, low, high = points[-1]
            points.append((x, None, None, None))
            if value is not None:
                levels.append((x, begins, value))
            if part.steps[0] > 0:
                points.append((begins, value, low, high))
        points += [
            (x, v.value, v.low, v.high) for x, v in zip(places.places(line, n), part.values, strict=True)
        ]
    return points, levels


def _rows(line: Line, places: StepAxis) -> list[dict]:
    return [
        {
            "series": line.label,
            "stage": part.stage,
            "step": step,
            "x": x,
            "value": value.value,
            "low": value.low,
            "high": value.high,
            "published": line.published,
            "source": value.source,
        }
        for n, part in enumerate(line.parts)
        for x, step, value in zip(places.places(line, n), part.steps, part.values, strict=True)
    ]


def _draw_marks(axes: Axes, rows: Sequence[dict], colour: str, marker: str, *, filled: bool) -> None:
    """A marker for each value, a bar for its interval, a cross for what does not exist."""
    bars = [row for row in rows if row["low"] is not None and row["high"] is not None]
    x, low, high = ([row[end] for row in bars] for end in ("x", "low", "high"))
    axes.vlines(x, low, high, color=colour, linewidth=0.8, alpha=0.75, zorder=2)
    known = [row for row in rows if row["value"] is not None]
    axes.plot(
        [row["x"] for row in known],
        [row["value"] for row in known],
        linestyle="none",
        marker=marker,
        markersize=3.2,
        markerfacecolor=colour if filled else "white",
        markeredgecolor=colour,
        markeredgewidth=0.8,
        zorder=4,
    )
    missing = [row["x"] for row in rows if row["value"] is None]
    foot = axes.get_xaxis_transform()
    look = {"marker": "x", "markersize": 3.5, "color": colour, "linestyle": "none"}
    axes.plot(missing, [0.015] * len(missing), transform=foot, **look)
