"""How much rho changed over each stage of a run, on the samples that its first and last checkpoint share."""

from dataclasses import dataclass

from corrpo.measurement.comparison import fingerprint_difference
from corrpo.measurement.fingerprint import Fingerprint
from corrpo.measurement.trajectory import Point, Trajectory
from corrpo.models.generation.sampling import check_seed
from corrpo.statistics import Difference
from corrpo.statistics.settings import check_settings


@dataclass(frozen=True)
class StageChange:
    """The first and last checkpoint of a stage, and what changed between them.

    Attributes:
        stage: its name.
        first: where the stage began: the last checkpoint of the stage before, if there is one.
        last: its last checkpoint.
        difference: Spearman's rho of `last` less that of `first`, with an interval over the shared samples.
    """

    stage: str
    first: Point
    last: Point
    difference: Difference


def stage_changes(trajectory: Trajectory, *, resamples: int = 1000, seed: int = 0) -> list[StageChange]:
    """What each stage of a run changed; stages of a single checkpoint with none before it are left out.

    Args:
        trajectory: the run.
        resamples: of the shared samples, for each interval; 0 for none.
        seed: of the resampling.

    Raises:
        BadInputError: the fingerprint of a checkpoint cannot be read; a number out of range.
    """
    check_settings(float(trajectory.settings["confidence"]), resamples=resamples)
    check_seed(seed)
    changes = []
    last: Point | None = None
    after: Fingerprint | None = None
    for stage, *_ in trajectory.stages:
        points = [point for point in trajectory.points if point.checkpoint.stage == stage]
        first, last = last or points[0], points[-1]
        if first is last:
            continue
        before, after = after or Fingerprint.load(first.folder), Fingerprint.load(last.folder)
        difference = fingerprint_difference(
            before,
            after,
            names=(first.checkpoint.key, last.checkpoint.key),
            method="spearman",
            by="position",
            resamples=resamples,
            seed=seed,
            confidence=float(trajectory.settings["confidence"]),
        )
        changes.append(StageChange(stage, first, last, difference))
    return changes
