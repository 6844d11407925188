"""Figure 2: the correlation of each model type over sample sets, one panel per family."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from corrpo.measurement.comparison import Row
from corrpo.report.explanations import estimator_label
from corrpo.report.figures.figure import Drawn, ReportFigure
from corrpo.report.plotting.drawing import Drawing, numbers_table
from corrpo.report.plotting.figure_style import (
    INK,
    MUTED,
    RULE,
    figure_style,
    label,
    signed_number,
    type_colours,
    type_markers,
)
from corrpo.report.results import ComparedFingerprints, Results
from corrpo.statistics import Correlation

SPREAD = 0.56
"""Width that the types of one sample set take, of the distance between sample sets."""
MARKER_SIZES = {"o": 4.8, "s": 4.4, "^": 5.8}
UNTRAINED = {"marker": "d", "markersize": 3.6, "markerfacecolor": "none", "markeredgewidth": 0.8}


@dataclass(frozen=True)
class TypeValue:
    """One point of the figure: a correlation, where it belongs, and its untrained control if measured.

    `source` is the folder of the fingerprint.
    """

    family: str
    type: str
    sample_set: str
    correlation: Correlation
    untrained: Correlation | None = None
    source: str = ""


def draw(results: Results | ComparedFingerprints, stem: str) -> Iterator[Drawn]:
    """One drawing, a panel for each family."""
    if results.compared is None:
        return
    comparison = results.compared.comparison
    drawing = rows_figure(stem, comparison.rows, comparison.measurement)
    yield Drawn(drawing, {"estimator": estimator_label(comparison.measurement)})


FIGURE = ReportFigure(
    stem="figure2",
    section="types",
    needs="compared",
    draw=draw,
    shows="Spearman ρ of token entropy and gradient strength ({estimator}) by sample set and model type. "
    "Bars are\nintervals over whole samples; a hollow marker without a bar has none. n: samples that ρ "
    "is over.",
    source="{name}.svg, from comparison.json, “rows”.",
    has_anchor=False,
)


def rows_figure(name: str, rows: Sequence[Row], measurement: Mapping[str, Any]) -> Drawing:
    """The figure of the rows of comparisons with this estimator."""
    values = [
        TypeValue(
            row.family,
            row.type,
            row.sample_set,
            row.spearman,
            (row.untrained or {}).get("spearman"),
            row.folder,
        )
        for row in rows
    ]
    label_of_rho = f"Spearman ρ of token entropy and\ngradient strength ({estimator_label(measurement)})"
    return types_figure(name, values, value_label=label_of_rho)


def types_figure(name: str, values: Sequence[TypeValue], *, value_label: str) -> Drawing:
    """The figure and its numbers; families, sample sets and types come in the order of first appearance."""
    families = list(dict.fromkeys(value.family for value in values))
    sets = list(dict.fromkeys(value.sample_set for value in values))
    types = list(dict.fromkeys(value.type for value in values))
    with figure_style(name):
        wide = max(1.6, 1.1 * len(sets) * max(1.0, len(types) / 3))
        figure = Figure(
            figsize=(max(wide * len(families) + 0.9, 1.1 * (len(types) + 2)), 3.2), layout="constrained"
        )
        figure.get_layout_engine().set(w_pad=0.05, h_pad=0.05, wspace=0.03)  # pyright: ignore
        row = figure.subplots(1, len(families), sharey=True, squeeze=False)[0]
        row[0].set_ylim(*_limits(values))
        for place, family in zip(row, families, strict=True):
            mine = [value for value in values if value.family == family]
            ticks = [_tick(name, [value for value in mine if value.sample_set == name]) for name in sets]
            _frame(place, label(family), ticks)
            for value in mine:
                _draw(place, value, sets, types)
        row[0].set_ylabel(value_label)
        figure.supxlabel("sample set (n samples); bars: intervals over samples", fontsize=7.5)
        _legend(figure, types, values)
        return Drawing(name, figure, _data(values))


def _data(values: Sequence[TypeValue]) -> pl.DataFrame:
    """A row per value: family, type, sample_set, untrained, value, low, high, n_tokens, n_samples, source."""
    rows = [
        {
            "family": value.family,
            "type": value.type,
            "sample_set": value.sample_set,
            "untrained": correlation is value.untrained,
            "value": correlation.value,
            "low": correlation.low,
            "high": correlation.high,
            "n_tokens": correlation.n_tokens,
            "n_samples": correlation.n_samples,
            "source": value.source,
        }
        for value in values
        for correlation in (value.correlation, value.untrained)
        if correlation is not None
    ]
    return numbers_table(rows)


def _limits(values: Sequence[TypeValue]) -> tuple[float, float]:
    shown = [value.correlation for value in values]
    shown += [value.untrained for value in values if value.untrained]
    ends = [0.0, *(end for c in shown for end in (c.low, c.value, c.high) if end is not None)]
    low, high = min(ends), max(ends)
    pad = 0.08 * max(high - low, 0.1)
    return max(low - pad, -1.04), min(high + pad, 1.04)


def _tick(sample_set: str, values: Sequence[TypeValue]) -> str:
    """The name of a sample set, and below it how many samples the correlations are over."""
    counts = sorted({value.correlation.n_samples for value in values})
    several = f"{counts[0]:,}–{counts[-1]:,}" if len(counts) > 1 else f"{counts[0]:,}" if counts else "0"
    return f"{label(sample_set, 16)}\nn = {several}"


def _frame(axes: Axes, title: str, ticks: Sequence[str]) -> None:
    axes.set_title(title, fontweight="bold")
    axes.axhline(0, color=INK, linewidth=0.8, zorder=1)
    axes.grid(axis="y", color=RULE, linewidth=0.4, alpha=0.6)
    axes.set_axisbelow(True)
    for edge in np.arange(len(ticks) - 1) + 0.5:
        axes.axvline(edge, color=RULE, linewidth=0.5, linestyle=(0, (1, 2)))
    axes.set_xlim(-0.5, len(ticks) - 0.5)
    axes.set_xticks(range(len(ticks)), ticks)
    axes.tick_params(axis="x", length=0)
    axes.spines["bottom"].set_visible(False)
    axes.locator_params(axis="y", nbins=7)
    axes.yaxis.set_major_formatter(FuncFormatter(signed_number))


def _draw(axes: Axes, value: TypeValue, sets: Sequence[str], types: Sequence[str]) -> None:
    step = SPREAD / max(len(types) - 1, 1)
    x = sets.index(value.sample_set) + (types.index(value.type) - (len(types) - 1) / 2) * step
    colour, marker = type_colours(types)[value.type], type_markers(types)[value.type]
    c = value.correlation
    if c.value is None:
        at_foot = axes.get_xaxis_transform()
        look = {"color": MUTED, "fontsize": 6, "rotation": 90, "ha": "center", "va": "bottom"}
        axes.text(x, 0.02, f"{label(value.type, 14)}: not defined", transform=at_foot, **look)
        return
    if c.low is not None and c.high is not None:
        axes.vlines(x, c.low, c.high, color=colour, linewidth=1.6, zorder=2)
    filled = c.low is not None
    axes.plot(
        x,
        c.value,
        marker=marker,
        markersize=MARKER_SIZES.get(marker, 5.2),
        color=colour if filled else "none",
        markeredgecolor="white" if filled else colour,
        markeredgewidth=0 if filled else 1.1,
        zorder=3,
    )
    untrained = value.untrained
    if untrained is not None and untrained.value is not None:
        if untrained.low is not None and untrained.high is not None:
            axes.vlines(x + 0.3 * step, untrained.low, untrained.high, color=colour, linewidth=0.6, zorder=2)
        axes.plot(x + 0.3 * step, untrained.value, color=colour, **UNTRAINED)


def _legend(figure: Figure, types: Sequence[str], values: Sequence[TypeValue]) -> None:
    colours, markers = type_colours(types), type_markers(types)
    entries = [(label(name), {"color": colours[name], "marker": markers[name]}) for name in types]
    if any(value.untrained for value in values):
        entries.append(("the same, untrained", {"color": MUTED, "linestyle": "none", **UNTRAINED}))
    handles = [Line2D([], [], **{"markersize": 5.2, "linewidth": 1.6, **look}) for _, look in entries]
    legend = figure.legend(
        handles, [" "] * len(entries), loc="outside upper center", ncols=len(entries), handlelength=1.6
    )
    for text, (name, _) in zip(legend.get_texts(), entries, strict=True):
        text.set_text(name)
