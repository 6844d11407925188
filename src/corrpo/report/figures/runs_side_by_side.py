"""Figure 5: runs side by side over training, rho above and accuracy below, a column for each family."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from matplotlib.figure import Figure

from corrpo.measurement.trajectory import Trajectory
from corrpo.report.collection import EvaluatedRun
from corrpo.report.figures.figure import Drawn, ReportFigure
from corrpo.report.options import Axis
from corrpo.report.plotting.drawing import Drawing, numbers_table
from corrpo.report.plotting.figure_style import figure_style, label
from corrpo.report.plotting.run_lines import (
    WIDE,
    RunsPanel,
    add_legend,
    draw_panel,
    line_looks,
    signed_axis,
)
from corrpo.report.plotting.step_axis import DOTTED, StepAxis
from corrpo.report.results import Results
from corrpo.report.run_groups import family_of, run_of
from corrpo.report.run_series import Line, Part, accuracy_parts, merged_stages, rho_parts


def draw(results: Results, stem: str) -> Iterator[Drawn]:
    """A drawing for each group of runs that started from the same weights within each family."""
    options = results.options
    suites = [row.suite["name"] for run in results.evaluated.values() for row in run.evaluations]
    suite = suites[0] if suites else None
    for number, group in enumerate(results.run_groups):
        drawing = runs_figure(
            stem if number == 0 else f"{stem}-{number + 1}",
            [_column(family, group, results, suite) for family in dict.fromkeys(map(_family, group))],
            axis=options.axis,
            rho_label=results.rho_label(group),
            accuracy_label=f"{options.measure} on {suite} (%)",
        )
        names = ", ".join(dict.fromkeys(run_of(run.label) for run in group))
        yield Drawn(drawing, {"names": names})


FIGURE = ReportFigure(
    stem="figure5",
    section="runs",
    needs="run_groups",
    draw=draw,
    shows=f"Runs that started from the same weights: {{names}}. Bars and bands are intervals. {DOTTED}",
)


@dataclass(frozen=True)
class RunsColumn:
    """One family: rho of its runs, and their accuracy in per cent where it was evaluated."""

    title: str
    rho: tuple[Line, ...]
    accuracy: tuple[Line, ...] = ()


def runs_figure(
    name: str,
    columns: Sequence[RunsColumn],
    *,
    axis: Axis = "steps",
    rho_label: str,
    accuracy_label: str = "accuracy (%)",
) -> Drawing:
    """The figure and its numbers; without accuracies the lower row is left out."""
    columns = [_in_the_same_rooms(column) for column in columns]
    looks = line_looks([line for column in columns for line in (*column.rho, *column.accuracy)])
    both = any(column.accuracy for column in columns)
    rows: list[dict] = []
    with figure_style(name):
        width = 4.6 if len(columns) == 1 else max(WIDE, 1.8 * len(columns))
        figure = Figure(figsize=(width, 2.2 * (1 + both) + 0.15), layout="constrained")
        grid = figure.subplots(1 + both, len(columns), sharey="row", sharex="col", squeeze=False)
        for number, column in enumerate(columns):
            places = StepAxis((*column.rho, *column.accuracy), axis)
            panel = RunsPanel(column.title, column.rho)
            drawn = draw_panel(grid[0, number], panel, places, looks, bottom=not column.accuracy)
            rows += [{"quantity": "rho", **row} for row in drawn]
            if both and column.accuracy:
                panel = RunsPanel("", column.accuracy)
                drawn = draw_panel(grid[1, number], panel, places, looks, top=False)
                rows += [{"quantity": "accuracy", **row, "panel": column.title} for row in drawn]
            elif both:
                grid[1, number].set_axis_off()
        grid[0, 0].set_ylabel(rho_label)
        signed_axis(grid[0, 0])
        if both:
            grid[1, 0].set_ylabel(label(accuracy_label, 60))
            grid[1, 0].set_ylim(bottom=0)
        add_legend(figure, looks)
        return Drawing(name, figure, numbers_table(rows))


def _in_the_same_rooms(column: RunsColumn) -> RunsColumn:
    """The column with both lines of each run on the stages of either: not all were measured and evaluated."""
    evaluated = {line.label: line for line in column.accuracy}
    stages = {
        line.label: merged_stages(line, evaluated[line.label])
        for line in column.rho
        if line.label in evaluated
    }
    rho, accuracy = (
        tuple(replace(line, stages=stages.get(line.label, ())) for line in lines)
        for lines in (column.rho, column.accuracy)
    )
    return replace(column, rho=rho, accuracy=accuracy)


def _family(run: Trajectory) -> str:
    return family_of(run.label)


def _column(family: str, group: Sequence[Trajectory], results: Results, suite: str | None) -> RunsColumn:
    runs = [run for run in group if _family(run) == family]
    accuracies = {
        run.label: _accuracy_of(results.evaluated.get(run.label), suite, results.options.measure)
        for run in runs
    }
    return RunsColumn(
        family or "runs from one start",
        tuple(Line(run_of(run.label), rho_parts(run)) for run in runs),
        tuple(Line(run_of(label), parts) for label, parts in accuracies.items() if parts),
    )


def _accuracy_of(run: EvaluatedRun | None, suite: str | None, measure: str) -> tuple[Part, ...]:
    evaluations = [
        row
        for row in (run.evaluations if run else ())
        if row.suite["name"] == suite and measure in row.estimates
    ]
    return accuracy_parts(evaluations, measure, str(run.folder)) if run and evaluations else ()
