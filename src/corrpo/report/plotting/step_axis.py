"""The x axis of figures over training: optimizer steps of one stage after another, in three scales."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from corrpo.report.options import Axis
from corrpo.report.plotting.figure_style import MUTED, RULE, label
from corrpo.report.run_series import Line

DOTTED = "A dotted level leads from the end of a stage to the next one where another run's stage is longer."
"""Of captions."""
STAGE_SIZE, TITLE_SIZE = 6.5, 8.0
CHARACTER = 0.62
"""Width of a character, of the size of its type."""


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
        self._lines = lines
        self.names = stage_names(lines)
        self._grids = [
            sorted({step for line in lines if (part := line.in_room(n)) for step in part.steps} | {0})
            for n in range(len(self.names))
        ]
        rooms = [self._room(grid) for grid in self._grids]
        self.starts: list[float] = np.concatenate(([0.0], np.cumsum(rooms))).tolist()

    def _room(self, grid: Sequence[int]) -> float:
        if self.axis == "fraction":
            return 1.0
        return float(len(grid) - 1) if self.axis == "stretched" else float(grid[-1])

    def _last(self, line: Line, room: int) -> int:
        """The last step of a stage of a run, of which there may be several lines."""
        of_run = [one for one in self._lines if (one.label, one.published) == (line.label, line.published)]
        return max(part.steps[-1] for one in of_run if (part := one.in_room(room)))

    def start(self, line: Line, n: int) -> float:
        """The x at which the stage of the n-th part of a line begins."""
        return self.starts[line.room(n)]

    def places(self, line: Line, n: int) -> list[float]:
        """The x of each step of the n-th part of a line."""
        part = line.parts[n]
        start = self.start(line, n)
        if self.axis == "steps":
            return [start + step for step in part.steps]
        if self.axis == "fraction":
            last = max(self._last(line, line.room(n)), 1)
            return [start + step / last for step in part.steps]
        return [start + self._grids[line.room(n)].index(step) for step in part.steps]

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
        if self.axis == "steps":
            return "optimizer steps"
        return f"optimizer steps{', of each stage' if len(self._grids) > 1 else ''}, not to scale"


def _short(step: float, _position: int | None = None) -> str:
    """A step as a tick label.

    >>> _short(800), _short(8000), _short(1250)
    ('800', '8k', '1.25k')
    """
    return f"{step / 1000:g}k" if step >= 1000 else f"{step:g}"


def stage_names(lines: Sequence[Line]) -> list[str]:
    """What the n-th stages of some lines are called, those of published lines where there are no others.

    >>> from corrpo.report.run_series import Part, Value
    >>> r1, rl = (Line("", tuple(Part(s, (1,), (Value(0.1),)) for s in stages)) for stages in ("ab", "b"))
    >>> stage_names([rl, r1])
    ['a / b', 'b']
    """
    names = []
    for n in range(max((1 + line.room(len(line.parts) - 1) for line in lines if line.parts), default=0)):
        there = [(line, part) for line in lines if (part := line.in_room(n))]
        measured = [(line, part) for line, part in there if not line.published] or there
        measured.sort(key=lambda pair: -len(pair[0].stages or pair[0].parts))
        names.append(" / ".join(dict.fromkeys(part.stage for _, part in measured)))
    return names


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
        x, side = (middle - low) / (high - low) * width, "center"
        left = x - room / 2
        if x + room / 2 > width:
            x, side, left = width, "right", width - room
        height = next((h for h, end in enumerate(heights) if end <= left), len(heights))
        heights[height : height + 1] = [left + room]
        axes.annotate(
            text,
            (x / width, 1.0),
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
