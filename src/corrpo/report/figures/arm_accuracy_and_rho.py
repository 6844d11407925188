"""A figure of experiments: the accuracy of each arm against its change of rho."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from corrpo.experiments.experiment_result import ExperimentResult
from corrpo.experiments.result_tables import BEFORE
from corrpo.report.figures.figure import Drawn, ReportFigure
from corrpo.report.plotting.drawing import Drawing, numbers_table
from corrpo.report.plotting.figure_style import RULE, figure_style, label, signed_number, type_colours


@dataclass(frozen=True)
class Place:
    """One arm: its change of rho and its accuracy in per cent."""

    panel: str
    name: str
    x: float
    value: float


def draw(result: ExperimentResult, stem: str) -> Iterator[Drawn]:
    """One drawing of the trained arms that have both numbers; none if there is no such arm."""
    k = result.verdict.analysis.k[0]
    places = []
    for arm in result.arms:
        accuracy = arm.accuracy[k].value
        if arm.arm != BEFORE and arm.change is not None and accuracy is not None:
            places.append(Place(arm.model, arm.arm, arm.change, 100 * accuracy))
    if places:
        labels = {"x_label": "change of ρ over training", "y_label": f"pass@{k} (%)"}
        yield Drawn(arms_figure(stem, places, **labels))


FIGURE = ReportFigure(
    stem="arms",
    section="experiment",
    needs="arms",
    draw=draw,
    shows="Each arm: its mean change of ρ and its mean accuracy, over seeds.",
)


def arms_figure(name: str, places: Sequence[Place], *, x_label: str, y_label: str) -> Drawing:
    """A point for each arm, a panel for each model."""
    panels = list(dict.fromkeys(place.panel for place in places))
    colours = type_colours([place.name for place in places])
    with figure_style(name):
        figure = Figure(figsize=(max(3.4, 2.6 * len(panels)), 2.6), layout="constrained")
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, panel in zip(grid, panels, strict=True):
            axes.set_title(label(panel))
            axes.axvline(0, color=RULE, linewidth=0.6)
            for place in (arm for arm in places if arm.panel == panel):
                axes.plot([place.x], [place.value], "o", color=colours[place.name], markersize=4)
                axes.annotate(
                    label(place.name), (place.x, place.value), (3, 3), textcoords="offset points", fontsize=6
                )
            axes.set_xlabel(x_label)
            axes.xaxis.set_major_formatter(signed_number)
        grid[0].set_ylabel(y_label)
        return Drawing(name, figure, numbers_table([vars(place) for place in places]))
