"""Which runs belong together: by the family of their labels, and by the weights that they started from."""

from collections.abc import Sequence

from corrpo.measurement.trajectory import Point, Trajectory


def family_of(label: str) -> str:
    """What stands before the last slash of a label."""
    return label.rpartition("/")[0]


def run_of(label: str) -> str:
    """What stands after the last slash of a label."""
    return label.rpartition("/")[2]


def continuations(trajectories: Sequence[Trajectory]) -> set[str]:
    """Labels of the runs that go on from a later checkpoint of another: CorR-PO from the end of an SFT."""
    starts = {run.label: start.model_digest for run in trajectories if (start := _start_of(run))}
    later = {
        (family_of(run.label), point.model_digest)
        for run in trajectories
        for point in run.points
        if point.checkpoint.global_step and point.model_digest != starts.get(run.label)
    }
    return {label for label, digest in starts.items() if (family_of(label), digest) in later}


def runs_from_one_start(trajectories: Sequence[Trajectory]) -> list[list[Trajectory]]:
    """Groups of runs that can be set side by side: in each family, two or more from the same weights.

    The n-th groups of all families go together, so that the same comparison stands in one figure; runs that
    go on from another one come first.
    """
    continued = continuations(trajectories)
    by_start: dict[tuple[str, str], list[Trajectory]] = {}
    for run in sorted(trajectories, key=lambda run: run.label not in continued):
        first = _start_of(run)
        if first is not None:
            by_start.setdefault((family_of(run.label), first.model_digest), []).append(run)
    of_family: dict[str, list[list[Trajectory]]] = {}
    for (family, _), group in by_start.items():
        if len(group) > 1:
            of_family.setdefault(family, []).append(group)
    most = max(map(len, of_family.values()), default=0)
    return [
        [run for groups in of_family.values() if len(groups) > n for run in groups[n]] for n in range(most)
    ]


def _start_of(trajectory: Trajectory) -> Point | None:
    return next((point for point in trajectory.points if point.checkpoint.global_step == 0), None)
