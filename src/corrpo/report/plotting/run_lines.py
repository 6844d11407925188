"""What the figures over training share: runs as lines over steps, and the axes that steps can have."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from corrpo.report.plotting.figure_style import MUTED, RULE, label

STAGE_SIZE, TITLE_SIZE = 6.5, 8.0
CHARACTER = 0.62
"""Width of a character, of the size of its type."""

Point = tuple[float, float | None, float | None, float | None]
"""x, value, low, high; None breaks the line."""

Axis = Literal["steps", "stretched", "fraction"]
"""steps: optimizer steps. stretched: every measured step has the same room, as in the published figures.
fraction: of each stage, to lay runs of other lengths over one another."""


@dataclass(frozen=True)
class Value:
    """A number with its interval, if there is one; None where it does not exist."""

    value: float | None
    low: float | None = None
    high: float | None = None
    source: str = ""


@dataclass(frozen=True)
class Part:
    """One stage of a line.

    Attributes:
        stage: its name.
        steps: optimizer steps since the stage began, ascending.
        values: one for each step.
    """

    stage: str
    steps: tuple[int, ...]
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Line:
    """One run.

    Attributes:
        label: of the run.
        parts: its stages, one after another.
        published: a curve from the literature, drawn dashed.
    """

    label: str
    parts: tuple[Part, ...]
    published: bool = False


class StepAxis:
    """Places on the x axis for the steps of some lines.

    Args:
        lines: that share a panel; the n-th stages of all of them share their room.
        axis: see `Axis`.

    Attributes:
        names: of the stages; see `stage_names`.
        starts: the x at which each stage begins, and the end of the last.
    """

    def __init__(self, lines: Sequence[Line], axis: Axis):
        self.axis = axis
        self.names = stage_names(lines)
        count = max((len(line.parts) for line in lines), default=0)
        self._grids = [
            sorted({step for line in lines if len(line.parts) > n for step in line.parts[n].steps} | {0})
            for n in range(count)
        ]
        rooms = [self._room(grid) for grid in self._grids]
        self.starts: list[float] = np.concatenate(([0.0], np.cumsum(rooms))).tolist()

    def _room(self, grid: Sequence[int]) -> float:
        if self.axis == "fraction":
            return 1.0
        return float(len(grid) - 1) if self.axis == "stretched" else float(grid[-1])

    def places(self, line: Line, n: int) -> list[float]:
        """The x of each step of the n-th stage of a line."""
        part = line.parts[n]
        start = self.starts[n]
        if self.axis == "steps":
            return [start + step for step in part.steps]
        if self.axis == "fraction":
            last = max(part.steps[-1], 1)
            return [start + step / last for step in part.steps]
        return [start + self._grids[n].index(step) for step in part.steps]

    @property
    def boundaries(self) -> list[float]:
        """Where one stage ends and the next begins."""
        return self.starts[1:-1]

    @property
    def span(self) -> tuple[float, float]:
        """The two ends; 0 stands in the middle if it is the only step."""
        return (0.0, self.starts[-1]) if self.starts[-1] else (-1.0, 1.0)

    def ticks(self, most: int = 9) -> tuple[list[float], list[str]] | None:
        """Places and labels, where they are not those of a plain axis of numbers."""
        if self.axis == "steps" and self.starts[-1]:
            return None
        places, names = [], []
        for n, grid in enumerate(self._grids):
            if self.axis == "fraction":
                marks = [(part, f"{part:g}") for part in (0.0, 0.5, 1.0)]
            else:
                every = max(1, -(-len(grid) // max(2, most // len(self._grids))))
                chosen = [i for i in range(0, len(grid), every) if i == 0 or len(grid) - 1 - i >= every / 2]
                marks = [(float(i), _short(grid[i])) for i in sorted({*chosen, len(grid) - 1})]
            for place, name in marks[1 if n else 0 :]:
                places.append(self.starts[n] + place)
                names.append(name)
        return places, names

    @property
    def title(self) -> str:
        """Of the x axis."""
        if self.axis == "fraction":
            return "part of the stage"
        several = ", of each stage" if self.axis == "stretched" and len(self._grids) > 1 else ""
        return f"optimizer steps{several}"


def _short(step: float, _position: int | None = None) -> str:
    """A step as a tick label.

    >>> _short(800), _short(8000), _short(1250)
    ('800', '8k', '1.25k')
    """
    return f"{step / 1000:g}k" if step >= 1000 else f"{step:g}"


def stage_names(lines: Sequence[Line]) -> list[str]:
    """What the n-th stages of some lines are called, those of published lines where there are no others.

    >>> r1, rl = (Line("", tuple(Part(s, (1,), (Value(0.1),)) for s in stages)) for stages in ("ab", "b"))
    >>> stage_names([rl, r1])
    ['a / b', 'b']
    """
    names = []
    for n in range(max((len(line.parts) for line in lines), default=0)):
        found = [line for line in lines if len(line.parts) > n]
        measured = [line for line in found if not line.published] or found
        measured.sort(key=lambda line: -len(line.parts))
        names.append(" / ".join(dict.fromkeys(line.parts[n].stage for line in measured)))
    return names


def draw_line(axes: Axes, line: Line, places: StepAxis, colour: str, marker: str) -> list[dict]:
    """Draw a run with its intervals; a value that does not exist is a gap with a cross at the foot.

    Where a stage is shorter than its room, a dotted level leads to the next one: no step was made there.

    Returns:
        A row for each value: series, stage, step, x, value, low, high, published, source.
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

    A stage begins with what the one before it ended with, unless its step 0 was measured.
    """
    points: list[Point] = []
    levels = []
    for n, part in enumerate(line.parts):
        begins = places.starts[n]
        if points and points[-1][0] < begins:
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
            "value": each.value,
            "low": each.low,
            "high": each.high,
            "published": line.published,
            "source": each.source,
        }
        for n, part in enumerate(line.parts)
        for x, step, each in zip(places.places(line, n), part.steps, part.values, strict=True)
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


def draw_steps(axes: Axes, places: StepAxis) -> None:
    """The x axis of a panel: its ends, ticks and the boundaries of stages."""
    low, high = places.span
    pad = 0.025 * (high - low)
    axes.set_xlim(low - pad, high + pad)
    ticks = places.ticks()
    if ticks is not None:
        axes.set_xticks(*ticks)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(_short))
    for x in places.boundaries:
        axes.axvline(x, color=MUTED, linewidth=0.7, linestyle=(0, (2, 2)), zorder=0)
    axes.grid(axis="y", color=RULE, linewidth=0.4, alpha=0.6)
    axes.set_axisbelow(True)


def draw_names(axes: Axes, title: str, places: StepAxis) -> None:
    """The title of a panel, over the names of its stages if there are several; none stands on another.

    Lengths are in points of type, which are the pixels of a figure until it is written.
    """
    width = axes.get_window_extent().width
    heights: list[float] = []
    for n, stage in enumerate(places.names if places.boundaries else ()):
        text = label(stage, 24)
        room = CHARACTER * STAGE_SIZE * len(text) + 4
        middle = (places.starts[n] + places.starts[n + 1]) / 2
        low, high = axes.get_xlim()
        at, side = (middle - low) / (high - low) * width, "center"
        left = at - room / 2
        if at + room / 2 > width:
            at, side, left = width, "right", width - room
        height = next((h for h, end in enumerate(heights) if end <= left), len(heights))
        heights[height : height + 1] = [left + room]
        axes.annotate(
            text,
            (at / width, 1.0),
            xycoords="axes fraction",
            xytext=(0, 1.5 + 8 * height),
            textcoords="offset points",
            ha=side,
            va="bottom",
            fontsize=STAGE_SIZE,
            color=MUTED,
        )
    most = int(width / (TITLE_SIZE * 1.1 * CHARACTER))
    axes.set_title(label(title, most), fontweight="bold", fontsize=TITLE_SIZE, pad=4 + 8 * len(heights))
