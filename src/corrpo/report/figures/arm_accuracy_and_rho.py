"""A figure of experiments: a row for each arm, with its accuracy and its change of rho side by side."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from corrpo.experiments.experiment_result import ArmResult, ExperimentResult
from corrpo.experiments.result_tables import BEFORE
from corrpo.report.figures.figure import Drawn, ReportFigure
from corrpo.report.formatting import bracketed, decimal
from corrpo.report.plotting.drawing import Drawing, numbers_table
from corrpo.report.plotting.figure_style import (
    INK,
    RULE,
    figure_style,
    label,
    signed_number,
    type_colours,
    type_markers,
)

FENCE = 3.0
"""Interquartile ranges beyond the quartiles from which a value stands at the edge, with its number."""
SPREAD = 0.5
"""Height that the models of one arm take, of the distance between arms."""


@dataclass(frozen=True)
class Place:
    """One arm on one model: accuracy in per cent and change of rho, with intervals over seeds or None."""

    panel: str
    name: str
    accuracy: float
    accuracy_low: float | None
    accuracy_high: float | None
    change: float
    change_low: float | None
    change_high: float | None


def draw(result: ExperimentResult, stem: str) -> Iterator[Drawn]:
    """One drawing of the trained arms that have both numbers; none if there is no such arm."""
    k = result.verdict.analysis.k[0]
    accuracies = {arm.model: arm.accuracy[k].value for arm in result.arms if arm.arm == BEFORE}
    before = {model: 100 * value for model, value in accuracies.items() if value is not None}
    places = [place for arm in result.arms if (place := _place(arm, k)) is not None]
    if places:
        yield Drawn(arms_figure(stem, places, before, accuracy_label=f"pass@{k} (%)"))


FIGURE = ReportFigure(
    stem="arms",
    section="experiment",
    needs="arms",
    draw=draw,
    shows="Each arm on each model: mean accuracy and mean change of ρ over seeds, with intervals over seeds "
    "alone (fewer than three seeds give none), so that the one measurement of ρ before training, which all "
    "runs share, adds nothing to them. Dashed lines: accuracy before training. A triangle at an edge with "
    "its number is a value far outside of the others.",
)


def _place(arm: ArmResult, k: int) -> Place | None:
    accuracy, rho = arm.accuracy[k], arm.rho
    if arm.arm == BEFORE or arm.change is None or accuracy.value is None or rho.value is None:
        return None
    before = rho.value - arm.change
    percent = [None if end is None else 100 * end for end in (accuracy.low, accuracy.high)]
    change = [None if end is None else end - before for end in (rho.low, rho.high)]
    return Place(
        panel=arm.model,
        name=arm.arm,
        accuracy=100 * accuracy.value,
        accuracy_low=percent[0],
        accuracy_high=percent[1],
        change=arm.change,
        change_low=change[0],
        change_high=change[1],
    )


def arms_figure(
    name: str, places: Sequence[Place], before: Mapping[str, float], *, accuracy_label: str
) -> Drawing:
    """A row for each arm, a colour and marker for each model, whose accuracies `before` are given.

    A model of which no arm has a place is left out.
    """
    arms = list(dict.fromkeys(place.name for place in places))
    models = list(dict.fromkeys(place.panel for place in places))
    before = {model: before[model] for model in models if model in before}
    looks: dict[str, dict[str, Any]] = {
        m: {"color": c, "marker": type_markers(models)[m]} for m, c in type_colours(models).items()
    }
    with figure_style(name):
        height = (0.11 + 0.09 * len(models)) * len(arms) + 1.0
        figure = Figure(figsize=(6.3, max(height, 1.8)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        for axes in (left, right):
            for row in range(0, len(arms), 2):
                axes.axhspan(row - 0.5, row + 0.5, color=RULE, alpha=0.25, linewidth=0)
            axes.xaxis.set_major_formatter(signed_number)
        for model, accuracy in before.items():
            left.axvline(accuracy, color=looks[model]["color"], linewidth=0.7, linestyle=(0, (4, 3)))
        right.axvline(0, color=RULE, linewidth=0.8)
        _set_limits(left, [(p.accuracy, p.accuracy_low, p.accuracy_high) for p in places], [*before.values()])
        _set_limits(right, [(p.change, p.change_low, p.change_high) for p in places], [0.0])
        for place in places:
            offset = (models.index(place.panel) - (len(models) - 1) / 2) * SPREAD / max(1, len(models) - 1)
            y, look = arms.index(place.name) + offset, looks[place.panel]
            _point(left, y, place.accuracy, place.accuracy_low, place.accuracy_high, look, digits=1)
            _point(right, y, place.change, place.change_low, place.change_high, look, digits=2)
        left.set_yticks(range(len(arms)), [label(arm) for arm in arms])
        left.set_ylim(len(arms) - 0.5, -0.5)
        left.set_xlabel(accuracy_label)
        right.set_xlabel("change of ρ over training")
        handles = [Line2D([], [], markersize=4, linewidth=1, **looks[model]) for model in models]
        figure.legend(handles, [label(model) for model in models], loc="outside upper center", ncols=6)
        return Drawing(name, figure, numbers_table([vars(place) for place in places]))


def _set_limits(
    axes: Axes, points: Sequence[tuple[float, float | None, float | None]], also: Sequence[float]
) -> None:
    """Room for all intervals but those of values far outside of the others."""
    first, third = np.percentile([value for value, *_ in points], (25, 75))
    fence = FENCE * (third - first)
    inside = [point for point in points if first - fence <= point[0] <= third + fence]
    ends = [*also, *(end for point in inside for end in point if end is not None)]
    pad = 0.04 * (max(ends) - min(ends) or 1.0)
    axes.set_xlim(min(ends) - pad, max(ends) + pad)


def _point(
    axes: Axes,
    y: float,
    value: float,
    low: float | None,
    high: float | None,
    look: Mapping[str, Any],
    *,
    digits: int,
) -> None:
    """A value with its interval; beyond the limits of the axes a triangle at the edge, with both as text."""
    least, most = axes.get_xlim()
    if least <= value <= most:
        if low is not None and high is not None:
            axes.hlines(y, low, high, color=look["color"], linewidth=1)
        axes.plot([value], [y], markersize=3.6, **look)
        return
    at_left = value < least
    axes.plot([least if at_left else most], [y], "<" if at_left else ">", color=look["color"], clip_on=False)
    text = f"{decimal(value, digits)} {bracketed(low, high, lambda end: decimal(end, digits))}".rstrip()
    side: dict[str, Any] = {
        "ha": "left" if at_left else "right",
        "va": "center",
        "textcoords": "offset points",
    }
    place = (least if at_left else most, y)
    axes.annotate(text, place, (5 if at_left else -5, 0), fontsize=6, color=INK, **side)
