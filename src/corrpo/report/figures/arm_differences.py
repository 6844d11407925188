"""A figure of experiments: the difference in accuracy between the treatment and each other arm."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from corrpo.experiments.experiment_result import ExperimentResult
from corrpo.report.figures.figure import Drawn, ReportFigure
from corrpo.report.plotting.drawing import Drawing, numbers_table
from corrpo.report.plotting.figure_style import INK, MUTED, RULE, figure_style, label, signed_number


@dataclass(frozen=True)
class Bar:
    """One difference in points of accuracy, with its interval; `low` and `high` are None without one."""

    panel: str
    name: str
    value: float
    low: float | None
    high: float | None


def draw(result: ExperimentResult, stem: str) -> Iterator[Drawn]:
    """One drawing of all comparisons at the first k of the analysis."""
    verdict, k = result.verdict, result.verdict.analysis.k[0]
    bars = [
        Bar(row.model, row.arm, 100 * row.contrast.value, *_percent_interval(row.contrast.shown))
        for row in (*verdict.deciding, *verdict.others)
        if row.k == k
    ]
    smallest = 100 * verdict.analysis.smallest_effect
    axis_label = f"{verdict.analysis.treatment} less other arm (points of pass@{k})"
    yield Drawn(differences_figure(stem, bars, smallest=smallest, axis_label=axis_label))


FIGURE = ReportFigure(
    stem="differences",
    section="experiment",
    needs="verdict",
    draw=draw,
    shows="The difference in accuracy from each arm, paired by seed and problem; the intervals of a panel "
    "hold together. The band holds what is smaller than the smallest effect of interest.",
)


def differences_figure(name: str, bars: Sequence[Bar], *, smallest: float, axis_label: str) -> Drawing:
    """A row for each arm, a panel for each model; the band is what is smaller than is of interest."""
    panels = list(dict.fromkeys(bar.panel for bar in bars))
    most = max(sum(bar.panel == panel for bar in bars) for panel in panels)
    with figure_style(name):
        size = (max(3.4, 2.3 * len(panels) + 0.8), 0.26 * most + 0.9)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, panel in zip(grid, panels, strict=True):
            axes.set_title(label(panel))
            axes.axvspan(-smallest, smallest, color=RULE, alpha=0.35, linewidth=0)
            axes.axvline(0, color=MUTED, linewidth=0.6)
            mine = [bar for bar in bars if bar.panel == panel]
            for row, bar in enumerate(mine):
                if bar.low is not None and bar.high is not None:
                    axes.plot([bar.low, bar.high], [row, row], color=INK, linewidth=1)
                axes.plot([bar.value], [row], "o", color=INK, markersize=3.5)
            axes.set_yticks(range(len(mine)), [label(bar.name) for bar in mine])
            axes.set_xlabel(axis_label)
            axes.xaxis.set_major_formatter(signed_number)
        grid[0].set_ylim(most - 0.5, -0.5)
        rows = [{"row": bar.name, **vars(bar)} for bar in bars]
        return Drawing(name, figure, numbers_table(rows))


def _percent_interval(contrast: Any) -> tuple[float | None, float | None]:
    if contrast.low is None or contrast.high is None:
        return None, None
    return 100 * contrast.low, 100 * contrast.high
