"""Figure 4: accuracy against rho over the checkpoints of a run, a panel for each run and suite."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from matplotlib.transforms import Bbox

from corrpo.errors import visible
from corrpo.evaluation.results import evaluation_folder
from corrpo.report.checkpoint_performance import Performance
from corrpo.report.figures.figure import Drawn, ReportFigure
from corrpo.report.formatting import with_interval
from corrpo.report.plotting.drawing import Drawing, numbers_table
from corrpo.report.plotting.figure_style import INK, MUTED, RULE, figure_style, label, signed_number
from corrpo.report.results import Results
from corrpo.report.run_series import Value, percent_value, rho_value
from corrpo.statistics.checkpoint_association import Association

SIDES = ((1, 1), (-1, 1), (1, -1), (-1, -1))
"""Right or left and above or below a point, for the step beside it."""


def draw(results: Results, stem: str) -> Iterator[Drawn]:
    """A drawing for each suite."""
    performances = results.performances
    for number, suite in enumerate(dict.fromkeys(run.suite for run in performances)):
        of_suite = [run for run in performances if run.suite == suite]
        drawing = performance_figure(
            stem if number == 0 else f"{stem}-{number + 1}",
            [_performance_panel(run, results.evaluated[run.label].folder) for run in of_suite],
            rho_label="Spearman ρ of entropy and strength",
            accuracy_label=f"{of_suite[0].measure} on {suite} (%)",
        )
        yield Drawn(drawing)


FIGURE = ReportFigure(
    stem="figure4",
    section="performance",
    needs="performances",
    draw=draw,
    shows="Accuracy against ρ at the checkpoints of a run, joined in the order of training; darker is "
    "later. Bars are intervals: over samples for ρ, over problems for accuracy.",
)


@dataclass(frozen=True)
class PerformancePanel:
    """One run on one suite.

    Attributes:
        title: of the panel.
        steps: optimizer steps since training began, ascending.
        rho: at each step.
        accuracy: at each step, in per cent.
        note: written under the title: the rank correlation.
    """

    title: str
    steps: tuple[int, ...]
    rho: tuple[Value, ...]
    accuracy: tuple[Value, ...]
    note: str = ""


def performance_figure(
    name: str, panels: Sequence[PerformancePanel], *, rho_label: str, accuracy_label: str = "accuracy (%)"
) -> Drawing:
    """The figure and its numbers; the shade of a point is its step, from light to dark."""
    columns = min(len(panels), 2)
    count = -(-len(panels) // columns)
    rows: list[dict] = []
    with figure_style(name):
        figure = Figure(figsize=(3.4 * columns, 2.9 * count), layout="constrained")
        grid = figure.subplots(count, columns, squeeze=False)
        for place in grid.flat[len(panels) :]:
            place.set_axis_off()
        for place, panel in zip(grid.flat, panels, strict=False):
            rows += _draw(place, panel)
        figure.supxlabel(rho_label, fontsize=7.5)
        figure.supylabel(label(accuracy_label, 60), fontsize=7.5)
        return Drawing(name, figure, numbers_table(rows))


def _shades() -> Colormap:
    """The darker part of a map that is even in lightness, so that the first step shows on white."""
    return ListedColormap(mpl.colormaps["viridis_r"](range(40, 256)))  # pyright: ignore[reportArgumentType]


def _draw(axes: Axes, panel: PerformancePanel) -> list[dict]:
    points = list(zip(panel.steps, panel.rho, panel.accuracy, strict=True))
    shown = [
        (step, rho, rho.value, accuracy, accuracy.value)
        for step, rho, accuracy in points
        if rho.value is not None and accuracy.value is not None
    ]
    shades, last = _shades(), max(panel.steps, default=1) or 1
    axes.plot([x for _, _, x, _, _ in shown], [y for *_, y in shown], color=RULE, lw=0.8)
    for step, rho, x, accuracy, y in shown:
        colour = shades(step / last)
        bars: dict[str, Any] = {"color": colour, "linewidth": 0.6, "alpha": 0.6, "zorder": 2}
        if rho.low is not None and rho.high is not None:
            axes.hlines(y, rho.low, rho.high, **bars)
        if accuracy.low is not None and accuracy.high is not None:
            axes.vlines(x, accuracy.low, accuracy.high, **bars)
        axes.plot(x, y, "o", color=colour, markersize=4.2, zorder=3)
    _frame(axes, panel, missing=len(points) - len(shown))
    ends = {step: (x, y) for step, _, x, _, y in (*shown[:1], *shown[-1:])}
    _label_steps(axes, ends, [(x, y) for _, _, x, _, y in shown])
    return _rows(panel)


def _label_steps(
    axes: Axes, ends: dict[int, tuple[float, float]], points: Sequence[tuple[float, float]]
) -> None:
    """Write the step beside each of `ends`, on the side where it meets the fewest of all `points`.

    Lengths are in points of type, which are the pixels of a figure until it is written.
    """
    frame = axes.get_window_extent()
    taken = [(x, y) for x, y in axes.transData.transform(points)] if points else []
    for step, end in ends.items():
        text = f"step {step:,}"
        x, y = axes.transData.transform(end)
        boxes = [_beside(x, y, 4.0 * len(text), side) for side in SIDES]
        met = [
            sum(box.contains(*point) for point in taken)
            + len(taken) * (not (frame.contains(box.x0, box.y0) and frame.contains(box.x1, box.y1)))
            for box in boxes
        ]
        best = met.index(min(met))
        right, up = SIDES[best]
        axes.annotate(
            text,
            end,
            xytext=(4 * right, 4 * up),
            textcoords="offset points",
            ha="left" if right > 0 else "right",
            va="bottom" if up > 0 else "top",
            fontsize=6.5,
            color=MUTED,
            bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.5},
            zorder=2.5,
        )
        taken += [(x, boxes[best].y0 + 5) for x in np.linspace(boxes[best].x0, boxes[best].x1, 5)]


def _beside(x: float, y: float, width: float, side: tuple[int, int]) -> Bbox:
    """What a text of some width takes up beside (x, y)."""
    right, up = side
    return Bbox.from_bounds(x + 3 if right > 0 else x - 3 - width, y + 3 if up > 0 else y - 12, width, 9)


def _frame(axes: Axes, panel: PerformancePanel, *, missing: int) -> None:
    """Title, note and axes of a panel of which `missing` checkpoints are not drawn."""
    note = [visible(text) for text in panel.note.splitlines()]
    if missing:
        note.append(f"no value at {missing} of {len(panel.steps)} checkpoints")
    axes.set_title(label(panel.title, 40), fontweight="bold", pad=4 + 9 * len(note))
    axes.annotate(
        "\n".join(note),
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 3),
        textcoords="offset points",
        fontsize=6.5,
    )
    axes.axvline(0, color=INK, linewidth=0.5, zorder=0)
    axes.grid(color=RULE, linewidth=0.4, alpha=0.6)
    axes.set_axisbelow(True)
    axes.margins(x=0.09)
    axes.locator_params(axis="x", nbins=6)
    if missing == len(panel.steps):
        axes.set(xticks=[], yticks=[])
    for line in (axes.xaxis, axes.yaxis):
        line.set_major_formatter(FuncFormatter(signed_number))


def _rows(panel: PerformancePanel) -> list[dict]:
    return [
        {
            "panel": panel.title,
            "step": step,
            "rho": rho.value,
            "rho_low": rho.low,
            "rho_high": rho.high,
            "accuracy": accuracy.value,
            "accuracy_low": accuracy.low,
            "accuracy_high": accuracy.high,
            "rho_source": rho.source,
            "accuracy_source": accuracy.source,
        }
        for step, rho, accuracy in zip(panel.steps, panel.rho, panel.accuracy, strict=True)
    ]


def _performance_panel(performance: Performance, evaluated: Path) -> PerformancePanel:
    points = performance.points
    return PerformancePanel(
        title=performance.label,
        steps=tuple(point.global_step for point in points),
        rho=tuple(rho_value(point.rho, str(point.fingerprint)) for point in points),
        accuracy=tuple(
            percent_value(point.accuracy, f"{evaluated}/{evaluation_folder(point.key, performance.suite)}")
            for point in points
        ),
        note=f"rank correlation {_association_text(performance.association)}\n"
        f"with the step held constant {_association_text(performance.association_given_step)}",
    )


def _association_text(association: Association) -> str:
    return "not defined" if association.value is None else with_interval(association)
