"""Rho and accuracy of runs over their steps: what figures draw, and how results become it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from corrpo.evaluation.results import Evaluation, evaluation_folder
from corrpo.measurement.trajectory import Trajectory
from corrpo.statistics import Correlation
from corrpo.statistics.accuracy_estimate import Estimate


@dataclass(frozen=True)
class Value:
    """A number with its interval, if there is one; None where it does not exist."""

    value: float | None
    low: float | None = None
    high: float | None = None
    source: str = ""


@dataclass(frozen=True)
class Part:
    """One stage of a line.

    Attributes:
        stage: its name.
        steps: optimizer steps since the stage began, ascending.
        values: one for each step.
    """

    stage: str
    steps: tuple[int, ...]
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Line:
    """One run.

    Attributes:
        label: of the run.
        parts: its stages, one after another.
        published: a curve from the literature, drawn dashed.
        stages: names of all stages of its run, in order; its parts are those of which there are values. Those
            of the parts if not given.
    """

    label: str
    parts: tuple[Part, ...]
    published: bool = False
    stages: tuple[str, ...] = ()

    def room(self, n: int) -> int:
        """The number, from 0, of the stage of its n-th part among those of its run."""
        return self.stages.index(self.parts[n].stage) if self.stages else n

    def in_room(self, number: int) -> Part | None:
        """The part of the stage of that number; None if there is none."""
        return next((part for n, part in enumerate(self.parts) if self.room(n) == number), None)


def merged_stages(first: Line, second: Line) -> tuple[str, ...]:
    """The stages of one run by two lines of it, each of which may lack some.

    >>> rl, both = (Line("", tuple(Part(stage, (), ()) for stage in names)) for names in ("b", "ab"))
    >>> merged_stages(rl, both)
    ('a', 'b')
    """
    stages = [part.stage for part in first.parts]
    place = 0
    for part in second.parts:
        if part.stage in stages:
            place = stages.index(part.stage) + 1
        else:
            stages.insert(place, part.stage)
            place += 1
    return tuple(stages)


def rho_parts(trajectory: Trajectory) -> tuple[Part, ...]:
    """The stages of a trajectory with rho at each checkpoint."""
    return _parts(
        (point.checkpoint.stage, point.checkpoint.step, rho_value(point.spearman, str(point.folder)))
        for point in trajectory.points
    )


def accuracy_parts(evaluations: Sequence[Evaluation], measure: str, source: str) -> tuple[Part, ...]:
    """The stages of a run with the accuracy, in per cent, at each checkpoint."""
    return _parts(
        (
            row.checkpoint["stage"],
            row.checkpoint["step"],
            percent_value(
                row.estimates[measure],
                f"{source}/{evaluation_folder(row.checkpoint['key'], row.suite['name'])}",
            ),
        )
        for row in evaluations
    )


def _parts(points: Iterable[tuple[str, int | None, Value]]) -> tuple[Part, ...]:
    stages: dict[str, list[tuple[int, Value]]] = {}
    for stage, step, value in points:
        if step is not None:
            stages.setdefault(stage, []).append((step, value))
    return tuple(
        Part(stage, tuple(step for step, _ in pairs), tuple(value for _, value in pairs))
        for stage, pairs in stages.items()
    )


def rho_value(rho: Correlation, source: str) -> Value:
    """A correlation as a value, from the folder `source`."""
    return Value(rho.value, rho.low, rho.high, source)


def percent_value(estimate: Estimate, source: str) -> Value:
    """An accuracy as a value in per cent, from the folder `source`."""
    value, low, high = (
        None if number is None else 100 * number for number in (estimate.value, estimate.low, estimate.high)
    )
    return Value(value, low, high, source)
