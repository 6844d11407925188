"""What the figures over training share: runs as lines over steps, and the axes that steps can have."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes

from corrpo.report.figures.style import MUTED, RULE, label

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
    """

    def __init__(self, lines: Sequence[Line], axis: Axis):
        self.axis = axis
        count = max((len(line.parts) for line in lines), default=0)
        self._grids = [
            sorted({step for line in lines if len(line.parts) > n for step in line.parts[n].steps} | {0})
            for n in range(count)
        ]
        rooms = [self._room(grid) for grid in self._grids]
        self._starts = np.concatenate(([0.0], np.cumsum(rooms))).tolist()

    def _room(self, grid: Sequence[int]) -> float:
        if self.axis == "fraction":
            return 1.0
        return float(len(grid) - 1) if self.axis == "stretched" else float(grid[-1])

    def places(self, line: Line, n: int) -> list[float]:
        """The x of each step of the n-th stage of a line."""
        part = line.parts[n]
        start = self._starts[n]
        if self.axis == "steps":
            return [start + step for step in part.steps]
        if self.axis == "fraction":
            last = max(part.steps[-1], 1)
            return [start + step / last for step in part.steps]
        return [start + self._grids[n].index(step) for step in part.steps]

    @property
    def boundaries(self) -> list[float]:
        """Where one stage ends and the next begins."""
        return self._starts[1:-1]

    @property
    def span(self) -> tuple[float, float]:
        """The two ends."""
        return 0.0, max(self._starts[-1], 1e-9)

    def ticks(self, most: int = 9) -> tuple[list[float], list[str]] | None:
        """Places and labels, where they are not those of a plain axis of numbers."""
        if self.axis == "steps":
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
                places.append(self._starts[n] + place)
                names.append(name)
        return places, names

    @property
    def title(self) -> str:
        """Of the x axis."""
        if self.axis == "fraction":
            return "part of the stage"
        several = ", of each stage" if self.axis == "stretched" and len(self._grids) > 1 else ""
        return f"optimizer steps{several}"


def _short(step: int) -> str:
    """A step as a tick label.

    >>> _short(800), _short(8000), _short(1250)
    ('800', '8k', '1.25k')
    """
    return f"{step / 1000:g}k" if step >= 1000 else str(step)


def draw_line(axes: Axes, line: Line, places: StepAxis, colour: str, marker: str) -> list[dict]:
    """Draw a run with its intervals; a value that does not exist is a gap with a cross at the foot.

    Returns:
        A row for each value: series, stage, step, x, value, low, high, published, source.
    """
    rows = []
    joined: list[tuple[float, float]] = []
    look = {"color": colour, "linewidth": 1.2, "linestyle": (0, (3, 2)) if line.published else "-"}
    for n, part in enumerate(line.parts):
        at = places.places(line, n)
        for x, step, each in zip(at, part.steps, part.values, strict=True):
            rows.append(
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
            )
            if each.value is None:
                foot = axes.get_xaxis_transform()
                axes.plot(x, 0.015, marker="x", markersize=3.5, color=colour, transform=foot)
                joined.append((x, np.nan))
                continue
            joined.append((x, each.value))
            if each.low is not None and each.high is not None:
                axes.vlines(x, each.low, each.high, color=colour, linewidth=0.8, alpha=0.75, zorder=2)
        _band(axes, at, part.values, colour)
    axes.plot(*zip(*joined, strict=True), **look, zorder=3)
    fill = "white" if line.published else colour
    axes.plot(
        *zip(*joined, strict=True),
        linestyle="none",
        marker=marker,
        markersize=3.2,
        markerfacecolor=fill,
        markeredgecolor=colour,
        markeredgewidth=0.8,
        zorder=4,
    )
    return rows


def _band(axes: Axes, at: Sequence[float], values: Sequence[Value], colour: str) -> None:
    pairs = zip(at, values, strict=True)
    known = [(x, v.low, v.high) for x, v in pairs if v.low is not None and v.high is not None]
    if len(known) > 1:
        x, low, high = zip(*known, strict=True)
        axes.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0, zorder=1)


def draw_steps(axes: Axes, lines: Sequence[Line], places: StepAxis, *, names: bool = True) -> None:
    """The x axis of a panel: its ends, ticks and the boundaries of stages, with their names above."""
    low, high = places.span
    pad = 0.025 * (high - low)
    axes.set_xlim(low - pad, high + pad)
    ticks = places.ticks()
    if ticks is not None:
        axes.set_xticks(*ticks)
    for x in places.boundaries:
        axes.axvline(x, color=MUTED, linewidth=0.7, linestyle=(0, (2, 2)), zorder=0)
    longest = max(lines, key=lambda line: len(line.parts))
    ends = [low, *places.boundaries, high]
    if names and len(longest.parts) > 1:
        for n, part in enumerate(longest.parts):
            axes.annotate(
                label(part.stage, 16),
                ((ends[n] + ends[n + 1]) / 2, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 1.5),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=6.5,
                color=MUTED,
            )
    axes.grid(axis="y", color=RULE, linewidth=0.4, alpha=0.6)
    axes.set_axisbelow(True)


def panel_name(axes: Axes, text: str, *, above_stages: bool) -> None:
    """The title of a panel, over the names of its stages."""
    axes.set_title(label(text, 40), fontweight="bold", pad=12 if above_stages else 4)
