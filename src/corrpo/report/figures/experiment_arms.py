"""The figures of an experiment: the treatment's difference from each arm, and accuracy against rho by arm."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from corrpo.report.plotting.drawing import Drawing, numbers_table
from corrpo.report.plotting.figure_style import (
    INK,
    MUTED,
    RULE,
    figure_style,
    label,
    signed_number,
    type_colours,
)


@dataclass(frozen=True)
class Bar:
    """One difference in points of accuracy, with its interval; `low` and `high` are None without one."""

    panel: str
    name: str
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Place:
    """One arm: its change of rho and its accuracy in per cent."""

    panel: str
    name: str
    x: float
    value: float


def differences_figure(name: str, bars: Sequence[Bar], *, smallest: float, axis_label: str) -> Drawing:
    """A row for each arm, a panel for each model; the band is what is smaller than is of interest.

    Args:
        name: of the figure.
        bars: one or more; those of a panel in the order of its rows.
        smallest: the smallest effect of interest, in points.
        axis_label: of the x axis.
    """
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
        grid[0].invert_yaxis()
        rows = [{"row": bar.name, **vars(bar)} for bar in bars]
        return Drawing(name, figure, numbers_table(rows))


def arms_figure(name: str, places: Sequence[Place], *, x_label: str, y_label: str) -> Drawing:
    """A point for each arm, a panel for each model.

    Args:
        name: of the figure.
        places: one or more.
        x_label: of the change of rho.
        y_label: of the accuracy.
    """
    panels = list(dict.fromkeys(place.panel for place in places))
    colours = type_colours([place.name for place in places])
    with figure_style(name):
        figure = Figure(figsize=(max(3.4, 2.6 * len(panels)), 2.6), layout="constrained")
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, panel in zip(grid, panels, strict=True):
            axes.set_title(label(panel))
            axes.axvline(0, color=RULE, linewidth=0.6)
            for place in (each for each in places if each.panel == panel):
                axes.plot([place.x], [place.value], "o", color=colours[place.name], markersize=4)
                at = (place.x, place.value)
                axes.annotate(label(place.name), at, (3, 3), textcoords="offset points", fontsize=6)
            axes.set_xlabel(x_label)
            axes.xaxis.set_major_formatter(signed_number)
        grid[0].set_ylabel(y_label)
        return Drawing(name, figure, numbers_table([vars(place) for place in places]))
