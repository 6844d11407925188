"""The figures of runs: which trajectories and evaluations go into which panel and line."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from corrpo.evaluation.results import Evaluation, evaluation_folder
from corrpo.measurement.trajectory import Point, Trajectory
from corrpo.report.accuracy_and_rho import Performance
from corrpo.report.collection import EvaluatedRun
from corrpo.report.figures.accuracy_against_rho import PerformancePanel, performance_figure
from corrpo.report.figures.rho_over_training import RunsPanel, dynamics_figure
from corrpo.report.figures.runs_side_by_side import RunsColumn, runs_figure
from corrpo.report.formatting import with_interval
from corrpo.report.plotting.drawing import Drawing
from corrpo.report.plotting.run_lines import Axis, Line, Part, Value
from corrpo.report.published_curves import SOURCE, published_curves
from corrpo.statistics import Correlation
from corrpo.statistics.accuracy_estimate import Estimate
from corrpo.statistics.checkpoint_association import Association


def family_of(label: str) -> str:
    """What stands before the last slash of a label."""
    return label.rpartition("/")[0]


def run_of(label: str) -> str:
    """What stands after the last slash of a label."""
    return label.rpartition("/")[2]


def dynamics_plate(
    trajectories: Sequence[Trajectory], *, axis: Axis, published: bool, value_label: str
) -> Drawing:
    """Figure 3: a panel for each family, and with `published` those of the literature beside them."""
    families = list(dict.fromkeys(family_of(each.label) for each in trajectories))
    panels = [
        RunsPanel(
            family or "rho over training",
            tuple(
                Line(run_of(each.label), rho_parts(each))
                for each in trajectories
                if family_of(each.label) == family
            )
            + (_published_lines(family) if published else ()),
        )
        for family in families
    ]
    return dynamics_figure("figure3", panels, axis=axis, value_label=value_label)


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


def rho_parts(trajectory: Trajectory) -> tuple[Part, ...]:
    """The stages of a trajectory with rho at each checkpoint."""
    return _parts(
        (point.checkpoint.stage, point.checkpoint.step, _rho(point.spearman, str(point.folder)))
        for point in trajectory.points
    )


def accuracy_parts(evaluations: Sequence[Evaluation], measure: str, source: str) -> tuple[Part, ...]:
    """The stages of a run with the accuracy, in per cent, at each checkpoint."""
    return _parts(
        (
            each.checkpoint["stage"],
            each.checkpoint["step"],
            _percent(
                each.estimates[measure],
                f"{source}/{evaluation_folder(each.checkpoint['key'], each.suite['name'])}",
            ),
        )
        for each in evaluations
    )


def _parts(points: Iterable[tuple[str, int | None, Value]]) -> tuple[Part, ...]:
    stages: dict[str, list[tuple[int, Value]]] = {}
    for stage, step, value in points:
        if step is not None:
            stages.setdefault(stage, []).append((step, value))
    return tuple(
        Part(stage, tuple(step for step, _ in found), tuple(value for _, value in found))
        for stage, found in stages.items()
    )


def _rho(rho: Correlation, source: str) -> Value:
    return Value(rho.value, rho.low, rho.high, source)


def _percent(estimate: Estimate, source: str) -> Value:
    value, low, high = (
        None if number is None else 100 * number for number in (estimate.value, estimate.low, estimate.high)
    )
    return Value(value, low, high, source)


def performance_plates(
    performances: Sequence[Performance], evaluated: Mapping[str, EvaluatedRun], *, rho_label: str
) -> list[Drawing]:
    """Figure 4, one for each suite."""
    suites = list(dict.fromkeys(each.suite for each in performances))
    drawn = []
    for number, suite in enumerate(suites):
        panels = [
            _performance_panel(each, evaluated[each.label].folder)
            for each in performances
            if each.suite == suite
        ]
        measure = next(each.measure for each in performances if each.suite == suite)
        drawn.append(
            performance_figure(
                "figure4" if number == 0 else f"figure4-{number + 1}",
                panels,
                rho_label=rho_label,
                accuracy_label=f"{measure} on {suite} (%)",
            )
        )
    return drawn


def _performance_panel(performance: Performance, evaluated: Path) -> PerformancePanel:
    points = performance.points
    return PerformancePanel(
        title=performance.label,
        steps=tuple(point.at for point in points),
        rho=tuple(_rho(point.rho, str(point.fingerprint)) for point in points),
        accuracy=tuple(
            _percent(point.accuracy, f"{evaluated}/{evaluation_folder(point.key, performance.suite)}")
            for point in points
        ),
        note=f"rank correlation {_told(performance.association)}\n"
        f"with the step held constant {_told(performance.association_given_step)}",
    )


def _told(association: Association) -> str:
    if association.value is None:
        return "not defined"
    return with_interval(association)


def runs_plate(
    number: int,
    trajectories: Sequence[Trajectory],
    evaluated: dict[str, EvaluatedRun],
    *,
    suite: str | None,
    measure: str,
    axis: Axis,
    rho_label: str,
) -> Drawing:
    """Figure 5 of runs that started from the same weights within each family."""
    families = list(dict.fromkeys(family_of(each.label) for each in trajectories))
    columns = []
    for family in families:
        runs = [each for each in trajectories if family_of(each.label) == family]
        columns.append(
            RunsColumn(
                family or "runs from one start",
                tuple(Line(run_of(each.label), rho_parts(each)) for each in runs),
                tuple(
                    Line(run_of(each.label), parts)
                    for each in runs
                    if (parts := _accuracy_of(evaluated.get(each.label), suite, measure))
                ),
            )
        )
    return runs_figure(
        "figure5" if number == 0 else f"figure5-{number + 1}",
        columns,
        axis=axis,
        rho_label=rho_label,
        accuracy_label=f"{measure} on {suite} (%)",
    )


def _accuracy_of(run: EvaluatedRun | None, suite: str | None, measure: str) -> tuple[Part, ...]:
    found = [
        each
        for each in (run.evaluations if run else ())
        if each.suite["name"] == suite and measure in each.estimates
    ]
    return accuracy_parts(found, measure, str(run.folder)) if run and found else ()


def continuations(trajectories: Sequence[Trajectory]) -> set[str]:
    """Labels of the runs that go on from a later checkpoint of another: CorR-PO from the end of an SFT."""
    later = {
        (family_of(each.label), point.model_digest)
        for each in trajectories
        for point in each.points
        if point.checkpoint.global_step
    }
    starts = {each.label: _start_of(each) for each in trajectories}
    return {
        label
        for label, start in starts.items()
        if start is not None and (family_of(label), start.model_digest) in later
    }


def runs_from_one_start(trajectories: Sequence[Trajectory]) -> list[list[Trajectory]]:
    """Groups of runs that can be set side by side: in each family, two or more from the same weights.

    The n-th groups of all families go together, so that the same comparison stands in one figure; runs that
    go on from another one come first.
    """
    continued = continuations(trajectories)
    by_start: dict[tuple[str, str], list[Trajectory]] = {}
    for each in sorted(trajectories, key=lambda each: each.label not in continued):
        first = _start_of(each)
        if first is not None:
            by_start.setdefault((family_of(each.label), first.model_digest), []).append(each)
    of_family: dict[str, list[list[Trajectory]]] = {}
    for (family, _), group in by_start.items():
        if len(group) > 1:
            of_family.setdefault(family, []).append(group)
    most = max(map(len, of_family.values()), default=0)
    return [
        [each for groups in of_family.values() if len(groups) > n for each in groups[n]] for n in range(most)
    ]


def _start_of(trajectory: Trajectory) -> Point | None:
    return next((point for point in trajectory.points if point.checkpoint.global_step == 0), None)
