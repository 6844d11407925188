"""What a page is drawn and written from: compared fingerprints, and all results of a `corrpo report`."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from corrpo.errors import BadInputError
from corrpo.measurement.comparison import Comparison, compare_fingerprints
from corrpo.measurement.fingerprint import Fingerprint
from corrpo.measurement.labelled_fingerprints import in_order
from corrpo.measurement.trajectory import Trajectory, check_same_measurement
from corrpo.report.checkpoint_performance import Performance, join_performance
from corrpo.report.collection import Collection
from corrpo.report.explanations import estimator_label
from corrpo.report.options import CONFIDENCE, ReportOptions
from corrpo.report.run_groups import runs_from_one_start


@dataclass(frozen=True)
class ComparedFingerprints:
    """A comparison with its fingerprints: those of `comparison.rows`, in their order, or an error."""

    comparison: Comparison
    fingerprints: Sequence[Fingerprint]

    def __post_init__(self) -> None:
        rows = [(row.sample_set, row.spearman) for row in self.comparison.rows]
        given = [
            (str(fingerprint.samples["name"]), fingerprint.spearman) for fingerprint in self.fingerprints
        ]
        if rows != given:
            raise BadInputError(
                f"these {len(given)} fingerprints are not those of the comparison's {len(rows)} rows, "
                "in order"
            )

    @property
    def compared(self) -> "ComparedFingerprints":
        """Itself, as `Results` holds it."""
        return self


class Results:
    """What `corrpo report` found, and what is computed of it once for all figures and tables.

    Args:
        collection: what `corrpo.report.collection.collect` found.
        options: of the report.
        progress: wraps the pairs of model types while their differences are computed.

    Attributes:
        collection: as given.
        options: as given.
        trajectories: those with steps of training.
        evaluated: the evaluated runs by label.

    Raises:
        BadInputError: trajectories that were measured differently; from a property: results that cannot stand
            in one figure or table, with what differs between them.
    """

    def __init__(
        self,
        collection: Collection,
        options: ReportOptions,
        progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
    ):
        check_same_measurement(collection.trajectories)
        self.collection = collection
        self.options = options
        self.trajectories = [run for run in collection.trajectories if run.stages]
        self.evaluated = {run.label: run for run in collection.evaluated}
        self._progress = progress

    @cached_property
    def compared(self) -> ComparedFingerprints | None:
        """The fingerprints side by side; None if there are none."""
        if not self.collection.fingerprints:
            return None
        labelled = in_order(self.collection.fingerprints)
        comparison = compare_fingerprints(
            labelled,
            resamples=self.options.resamples,
            confidence=CONFIDENCE,
            progress=self._progress,
        )
        return ComparedFingerprints(comparison, [row.fingerprint for row in labelled])

    @cached_property
    def performances(self) -> list[Performance]:
        """Accuracy beside rho, for each run and suite with two checkpoints or more that have both."""
        joined = [
            join_performance(
                run,
                self.evaluated[run.label].evaluations,
                suite,
                measure=self.options.measure,
                resamples=self.options.resamples,
            )
            for run in self.collection.trajectories
            if run.label in self.evaluated
            for suite in self.evaluated[run.label].suites
        ]
        return [performance for performance in joined if performance and len(performance.points) > 1]

    @property
    def unmatched(self) -> list[str]:
        """Why runs that were tracked and runs that were evaluated have no figure of accuracy beside rho."""
        tracked = {run.label: run for run in self.collection.trajectories}
        drawn = {performance.label for performance in self.performances}
        alone = [
            [name for name in names if name not in others]
            for names, others in ((tracked, self.evaluated), (self.evaluated, tracked))
        ]
        lines = []
        if all(alone):
            lines.append(
                "accuracy beside rho (figure 4) needs one label for both: only tracked are "
                f"{', '.join(alone[0])}, only evaluated {', '.join(alone[1])}; where these are the same run, "
                f"give both folders its label, as in {alone[0][0]}=DIR"
            )
        lines += [
            f"accuracy beside rho (figure 4) of {name}: {self._why_alone(name)}"
            for name in tracked
            if name in self.evaluated and name not in drawn
        ]
        return lines

    def _why_alone(self, label: str) -> str:
        """Why a run that was tracked and evaluated has no figure of both."""
        held = dict.fromkeys(name for row in self.evaluated[label].evaluations for name in row.estimates)
        others = [name for name in held if not name.startswith("majority@")]
        if self.options.measure not in held and others:
            return f"its evaluations hold no {self.options.measure}; give --measure {' or '.join(others)}"
        return "fewer than two of its checkpoints were both tracked and evaluated on one suite"

    @cached_property
    def run_groups(self) -> list[list[Trajectory]]:
        """Runs to set side by side; see `corrpo.report.run_groups.runs_from_one_start`."""
        return runs_from_one_start(self.trajectories)

    def rho_label(self, trajectories: Sequence[Trajectory]) -> str:
        """Axis label of the rho of some trajectories."""
        return f"Spearman ρ of entropy and\nstrength ({estimator_label(trajectories[0].settings)})"
