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
        figure = Figure(figsize=(3.3 * columns + 0.5, 2.9 * count), layout="constrained")
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
    shown = [(s, r, a) for s, r, a in points if r.value is not None and a.value is not None]
    shades, last = _shades(), max(panel.steps, default=1) or 1
    axes.plot([r.value or 0 for _, r, _ in shown], [a.value or 0 for _, _, a in shown], color=RULE, lw=0.8)
    for step, rho, accuracy in shown:
        colour = shades(step / last)
        bars: dict[str, Any] = {"color": colour, "linewidth": 0.6, "alpha": 0.6, "zorder": 2}
        x, y = rho.value or 0.0, accuracy.value or 0.0
        if rho.low is not None and rho.high is not None:
            axes.hlines(y, rho.low, rho.high, **bars)
        if accuracy.low is not None and accuracy.high is not None:
            axes.vlines(x, accuracy.low, accuracy.high, **bars)
        axes.plot(x, y, "o", color=colour, markersize=4.2, zorder=3)
    for step, rho, accuracy in {shown[0][0]: shown[0], shown[-1][0]: shown[-1]}.values() if shown else ():
        axes.annotate(
            f"step {step:,}",
            (rho.value or 0.0, accuracy.value or 0.0),
            xytext=(4, 4),
            textcoords="offset points",
            fontsize=6.5,
            color=MUTED,
        )
    axes.set_title(
        label(panel.title, 40), fontweight="bold", pad=4 + 9 * panel.note.count("\n") + 9 * bool(panel.note)
    )
    note = "\n".join(map(visible, panel.note.splitlines()))
    axes.annotate(
        note, (0, 1), xycoords="axes fraction", xytext=(0, 3), textcoords="offset points", fontsize=6.5
    )
    axes.axvline(0, color=INK, linewidth=0.5, zorder=0)
    axes.grid(color=RULE, linewidth=0.4, alpha=0.6)
    axes.set_axisbelow(True)
    for each in (axes.xaxis, axes.yaxis):
        each.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.10g}".replace("-", "−")))
    return [
        {
            "panel": visible(panel.title),
            "step": step,
            "rho": rho.value,
            "rho_low": rho.low,
            "rho_high": rho.high,
            "accuracy": accuracy.value,
            "accuracy_low": accuracy.low,
            "accuracy_high": accuracy.high,
            "rho_source": visible(rho.source),
            "accuracy_source": visible(accuracy.source),
        }
        for step, rho, accuracy in points
    ]
