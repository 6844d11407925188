"""A figure of experiments: accuracy of each arm against generated tokens, seconds and steps of training."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from corrpo.experiments.arm_difference import SeedMean, mean_over_seeds
from corrpo.experiments.experiment_result import ExperimentResult
from corrpo.experiments.training_cost import MEASURES
from corrpo.report.figures.figure import Drawn, ReportFigure
from corrpo.report.plotting.drawing import Drawing, numbers_table
from corrpo.report.plotting.figure_style import figure_style, label
from corrpo.report.plotting.run_lines import WIDE, Looks, add_legend, line_looks
from corrpo.report.run_series import Line

AXES = MEASURES | {"step": "steps"}


@dataclass(frozen=True)
class CostPoint:
    """One arm on one model after so many steps: means over seeds with intervals, accuracy in per cent."""

    panel: str
    series: str
    step: int | None
    costs: Mapping[str, SeedMean]
    accuracy: SeedMean


def draw(result: ExperimentResult, stem: str) -> Iterator[Drawn]:
    """One drawing: of the evaluations while the runs trained, or else of their ends."""
    points = _evaluated(result)
    what = "accuracy while training"
    if not points:
        points, what = _ends(result), f"pass@{result.verdict.analysis.k[0]}"
    if points:
        yield Drawn(costs_figure(stem, points, accuracy_label=f"{what} (%)"), {"what": what})


FIGURE = ReportFigure(
    stem="costs",
    section="experiment",
    needs="arm_costs",
    draw=draw,
    shows="What training cost, and {what} at that cost: means over seeds, with intervals over seeds alone "
    "(fewer than three give none). Seconds leave evaluations out; they are of the machine and what else ran "
    "on it.",
)


def _evaluated(result: ExperimentResult) -> list[CostPoint]:
    confidence = 1 - result.verdict.analysis.alpha
    groups = result.costs.drop_nulls("accuracy").group_by("model", "arm", "step", maintain_order=True)
    return [CostPoint(model, arm, step, *_means(rows, confidence)) for (model, arm, step), rows in groups]  # pyright: ignore[reportArgumentType]


def _means(rows: pl.DataFrame, confidence: float) -> tuple[dict[str, SeedMean], SeedMean]:
    values = {name: rows[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in (*AXES, "accuracy")}
    means = {name: mean_over_seeds(value, confidence) for name, value in values.items()}
    accuracy = _percent(means.pop("accuracy").within(0, 1))
    return {name: mean.within(0, np.inf) for name, mean in means.items()}, accuracy


def _ends(result: ExperimentResult) -> list[CostPoint]:
    k = result.verdict.analysis.k[0]
    accuracies = {(arm.model, arm.arm): arm.accuracy[k] for arm in result.arms}
    return [
        CostPoint(
            cost.model,
            cost.arm,
            None,
            {name: getattr(cost, name) for name in MEASURES},
            _percent(accuracies[cost.model, cost.arm]),
        )
        for cost in result.arm_costs
        if cost.seconds.value is not None
    ]


def _percent(mean: SeedMean) -> SeedMean:
    value, low, high = (None if end is None else 100 * end for end in (mean.value, mean.low, mean.high))
    return SeedMean(value, low, high, mean.n_seeds)


def costs_figure(name: str, points: Sequence[CostPoint], *, accuracy_label: str) -> Drawing:
    """A row of panels for each model, one for each kind of cost that there is; a colour for each arm."""
    models = list(dict.fromkeys(point.panel for point in points))
    known = {name for point in points for name, mean in point.costs.items() if mean.value is not None}
    kinds = [kind for kind in AXES if kind in known]
    looks = line_looks([Line(arm, ()) for arm in dict.fromkeys(point.series for point in points)])
    rows = []
    with figure_style(name):
        figure = Figure(figsize=(WIDE, 0.25 + 2.2 * len(models)), layout="constrained")
        grid = figure.subplots(len(models), len(kinds), squeeze=False, sharey="row", sharex="col")
        for line, model in zip(grid, models, strict=True):
            line[0].set_title(label(model, 40), fontweight="bold")
            of_model = [point for point in points if point.panel == model]
            for axes, kind in zip(line, kinds, strict=True):
                rows += _panel(axes, of_model, kind, looks)
        for axes, kind in zip(grid[-1], kinds, strict=True):
            axes.set_xlabel(AXES[kind])
        figure.supylabel(accuracy_label, fontsize=7.5)
        add_legend(figure, looks)
        return Drawing(name, figure, numbers_table(rows))


def _panel(axes: Axes, points: Sequence[CostPoint], kind: str, looks: Looks) -> list[dict[str, Any]]:
    """The arms of one model against one kind of cost; a row for each point."""
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.locator_params(axis="x", nbins=5)
    rows = []
    for point in points:
        cost, accuracy = point.costs.get(kind), point.accuracy
        if cost is None or cost.value is None or accuracy.value is None:
            continue
        row = {"panel": point.panel, "series": point.series, "step": point.step, "axis": kind}
        row |= {"x": cost.value, "x_low": cost.low, "x_high": cost.high}
        rows.append(row | {"value": accuracy.value, "low": accuracy.low, "high": accuracy.high})
    for arm in dict.fromkeys(row["series"] for row in rows):
        colour, marker = looks[arm, False]
        of_arm = [row for row in rows if row["series"] == arm]
        x, value = ([row[end] for row in of_arm] for end in ("x", "value"))
        axes.plot(x, value, color=colour, marker=marker, markersize=3.4, linewidth=1.1)
        for row in of_arm:
            bars = {"color": colour, "linewidth": 0.8, "alpha": 0.7}
            if row["low"] is not None:
                axes.vlines(row["x"], row["low"], row["high"], **bars)
            if row["x_low"] is not None and kind != "step":
                axes.hlines(row["value"], row["x_low"], row["x_high"], **bars)
    return rows
