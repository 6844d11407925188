"""Figure 3: the correlation over training, a line for each run, a panel for each family."""

from collections.abc import Iterator, Sequence

from matplotlib.figure import Figure

from corrpo.report.figures.figure import Drawn, ReportFigure
from corrpo.report.options import Axis
from corrpo.report.plotting.drawing import Drawing, numbers_table
from corrpo.report.plotting.figure_style import figure_style
from corrpo.report.plotting.run_lines import (
    WIDE,
    RunsPanel,
    add_legend,
    draw_panel,
    line_looks,
    signed_axis,
)
from corrpo.report.plotting.step_axis import DOTTED, StepAxis
from corrpo.report.published_curves import SOURCE, published_curves
from corrpo.report.results import Results
from corrpo.report.run_groups import continuations, family_of, run_of
from corrpo.report.run_series import Line, Part, Value, rho_parts


def draw(results: Results, stem: str) -> Iterator[Drawn]:
    """One drawing of the runs from their own start; those that go on from another run are in figure 5."""
    continued = continuations(results.trajectories)
    trajectories = [run for run in results.trajectories if run.label not in continued]
    families = list(dict.fromkeys(family_of(run.label) for run in trajectories))
    panels = [
        RunsPanel(
            family or "rho over training",
            tuple(
                Line(run_of(run.label), rho_parts(run))
                for run in trajectories
                if family_of(run.label) == family
            )
            + (_published_lines(family) if results.options.published else ()),
        )
        for family in families
    ]
    drawing = dynamics_figure(
        stem, panels, axis=results.options.axis, value_label=results.rho_label(trajectories)
    )
    elsewhere = " Runs that go on from a checkpoint of another one are in figure 5." if continued else ""
    yield Drawn(drawing, {"elsewhere": elsewhere})


FIGURE = ReportFigure(
    stem="figure3",
    section="dynamics",
    needs="trajectories",
    draw=draw,
    shows="Spearman ρ of token entropy and gradient strength at each checkpoint, on the same prompts. Bars "
    "and bands are intervals that resample whole samples; a cross is a ρ that does not exist. "
    f"{DOTTED}{{elsewhere}}",
)


def dynamics_figure(
    name: str, panels: Sequence[RunsPanel], *, axis: Axis = "steps", value_label: str
) -> Drawing:
    """The figure and its numbers."""
    looks = line_looks([line for panel in panels for line in panel.lines])
    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    rows_of_data: list[dict] = []
    with figure_style(name):
        is_wide = columns == 2 or any(line.published for panel in panels for line in panel.lines)
        figure = Figure(figsize=(WIDE if is_wide else 4.6, 2.5 * rows + 0.1), layout="constrained")
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for place in grid.flat[len(panels) :]:
            place.set_axis_off()
        for place, panel in zip(grid.flat, panels, strict=False):
            rows_of_data += draw_panel(place, panel, StepAxis(panel.lines, axis), looks)
        signed_axis(grid[0, 0])
        figure.supylabel(value_label, fontsize=7.5, multialignment="center")
        add_legend(figure, looks)
        return Drawing(name, figure, numbers_table(rows_of_data))


def _published_lines(family: str) -> tuple[Line, ...]:
    """The published runs of models of a family, SFT then GRPO and pure RL; of no known family, all."""
    curves = published_curves()
    models = list(dict.fromkeys(curve.model for curve in curves))
    of_family = [model for model in models if model.split("-")[0] in family.lower()]
    lines = []
    for model in of_family or models:
        stages = {curve.figure: curve.stages for curve in curves if curve.model == model}
        runs = {
            "SFT, then GRPO": (*stages["sft"], *stages["sft_then_rl"]),
            "pure RL": stages["rl_zero"],
        }
        lines += [
            Line(f"published: {model}, {name}", _published_parts(run), published=True)
            for name, run in runs.items()
        ]
    return tuple(lines)


def _published_parts(
    stages: Sequence[tuple[str, tuple[int, ...], tuple[float, ...]]],
) -> tuple[Part, ...]:
    """Stages with the steps counted from the beginning of each; the source counts on from one to the next."""
    parts: list[Part] = []
    passed = 0
    for stage, steps, values in stages:
        own = tuple(step - passed for step in steps)
        parts.append(Part(stage, own, tuple(Value(value, source=SOURCE) for value in values)))
        passed = steps[-1]
    return tuple(parts)
