"""Figure 4: accuracy against rho over the checkpoints of a run, a panel for each run and suite."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from corrpo.report.figures.drawing import Drawing, numbers_table
from corrpo.report.figures.lines import Value
from corrpo.report.figures.style import INK, MUTED, RULE, figure_style, label
from corrpo.report.text import visible


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
    """The figure and its numbers; the shade of a point is its step, from light to dark.

    Args:
        name: of the figure, the beginning of its ids.
        panels: one or more.
        rho_label: of the x axis.
        accuracy_label: of the y axis.
    """
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
    for step, _, x, _, y in {each[0]: each for each in (*shown[:1], *shown[-1:])}.values():
        axes.annotate(
            f"step {step:,}",
            (x, y),
            xytext=(4, 4),
            textcoords="offset points",
            fontsize=6.5,
            color=MUTED,
            bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.5},
            zorder=5,
        )
    _frame(axes, panel, missing=len(points) - len(shown))
    return _rows(panel)


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
    if missing == len(panel.steps):
        axes.set(xticks=[], yticks=[])
    for each in (axes.xaxis, axes.yaxis):
        each.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.10g}".replace("-", "−")))


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
