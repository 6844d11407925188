"""Accuracy and rho over the checkpoints of a run (figure 4), and how the two go together.

Both are measured again on random halves (`corrpo.statistics.checkpoint_association`): rho on halves of the
samples and accuracy on halves of the problems, each half the same at every checkpoint, as they all answer the
same prompts. A sample that a checkpoint lacks is simply not in its halves.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from corrpo.errors import BadInputError
from corrpo.evaluation.results import Evaluation
from corrpo.jobs.files import read_parquet
from corrpo.measurement.fingerprint_format import TOKENS
from corrpo.measurement.trajectory import Point, Trajectory
from corrpo.models.generation.sampling import check_seed
from corrpo.statistics import Correlation, TokenSeries
from corrpo.statistics.accuracy_estimate import Estimate, pass_at_k
from corrpo.statistics.checkpoint_association import Association, rank_association
from corrpo.statistics.coefficients import Array
from corrpo.statistics.interval import half_samples
from corrpo.statistics.settings import check_settings
from corrpo.statistics.token_series import check_series
from corrpo.statistics.weighted_coefficients import weighted_statistic

MEASURE = "pass@1"
Pair = tuple[Point, Evaluation]


@dataclass(frozen=True)
class PerformancePoint:
    """One checkpoint that was both measured and evaluated.

    Attributes:
        key: STAGE/step-000200.
        stage: of training.
        step: optimizer steps since the stage began.
        global_step: optimizer steps since training began.
        rho: Spearman's rho over token positions.
        accuracy: of the measure, over the problems of the suite.
        fingerprint: folder of the fingerprint.
    """

    key: str
    stage: str
    step: int | None
    global_step: int
    rho: Correlation
    accuracy: Estimate
    fingerprint: Path


@dataclass(frozen=True)
class Performance:
    """Accuracy and rho of one run.

    Attributes:
        label: of the run.
        suite: that accuracy is on.
        measure: pass@1 or another of `Evaluation.estimates`.
        points: in the order of training.
        left_out: keys of checkpoints that were only measured or only evaluated.
        association: rank correlation of the two over the checkpoints at which both exist.
        association_given_step: the same with the step held constant.
    """

    label: str
    suite: str
    measure: str
    points: tuple[PerformancePoint, ...]
    left_out: tuple[str, ...]
    association: Association
    association_given_step: Association

    def table(self) -> pl.DataFrame:
        """A row per point.

        Columns: run, suite, measure, key, stage, step, at, rho, rho_low, rho_high, accuracy, accuracy_low,
        accuracy_high, fingerprint (folder).
        """
        rows = [
            {
                "run": self.label,
                "suite": self.suite,
                "measure": self.measure,
                "key": point.key,
                "stage": point.stage,
                "step": point.step,
                "at": point.global_step,
                "rho": point.rho.value,
                "rho_low": point.rho.low,
                "rho_high": point.rho.high,
                "accuracy": point.accuracy.value,
                "accuracy_low": point.accuracy.low,
                "accuracy_high": point.accuracy.high,
                "fingerprint": str(point.fingerprint),
            }
            for point in self.points
        ]
        return pl.DataFrame(rows, schema=_TABLE)


_TABLE = {
    **dict.fromkeys(("run", "suite", "measure", "key", "stage"), pl.String),
    **dict.fromkeys(("step", "at"), pl.Int64),
    **dict.fromkeys(("rho", "rho_low", "rho_high"), pl.Float64),
    **dict.fromkeys(("accuracy", "accuracy_low", "accuracy_high"), pl.Float64),
    "fingerprint": pl.String,
}


def join_performance(
    trajectory: Trajectory,
    evaluations: Sequence[Evaluation],
    suite: str,
    *,
    measure: str = MEASURE,
    resamples: int = 500,
    seed: int = 0,
) -> Performance | None:
    """Set accuracy beside rho at the checkpoints that have both; None if there are none.

    Args:
        trajectory: where rho was measured; a model that is no step of a run is passed over.
        evaluations: where accuracy was; those of other suites, or without the measure, are passed over.
        suite: name of the suite.
        measure: pass@k for some k, or average@n. (For majority@n the votes of each problem are not kept.)
        resamples: halves of samples and problems behind each interval; 0 for no intervals.
        seed: of their choice; the same seed gives the same numbers.

    Returns:
        The `Performance`; where a rank correlation or its interval does not exist, it is None and its
        `reason` says why.

    Raises:
        BadInputError: another measure, or a number out of range; a checkpoint whose weights were others when
            it was evaluated, or that was evaluated on other problems than the first.
    """
    k = _k_of(measure)
    points = {
        point.checkpoint.key: point for point in trajectory.points if point.checkpoint.global_step is not None
    }
    evaluated = {
        row.checkpoint["key"]: row
        for row in evaluations
        if row.suite["name"] == suite and measure in row.estimates
    }
    pairs = [(point, evaluated[key]) for key, point in points.items() if key in evaluated]
    if not pairs:
        return None
    _check_same(pairs)
    confidence = float(trajectory.settings["confidence"])
    check_settings(confidence, resamples=resamples)
    check_seed(seed)
    association, given_step = _associations(pairs, measure, k, confidence, resamples, seed)
    return Performance(
        label=trajectory.label,
        suite=suite,
        measure=measure,
        points=tuple(_point(*pair, measure) for pair in pairs),
        left_out=tuple(sorted(set(points) ^ set(evaluated))),
        association=association,
        association_given_step=given_step,
    )


def performance_table(performances: Iterable[Performance]) -> pl.DataFrame:
    """The rows of `Performance.table` of several."""
    return pl.concat([pl.DataFrame(schema=_TABLE), *(performance.table() for performance in performances)])


def _k_of(measure: str) -> int:
    """The k whose pass@k a measure is: average@n is pass@1 of n generations."""
    kind, _, number = measure.partition("@")
    if kind not in ("pass", "average") or not number.isdecimal() or int(number) < 1:
        raise BadInputError(f"measure {measure!r}: expected pass@K or average@N, such as pass@1 or pass@16")
    return int(number) if kind == "pass" else 1


def _check_same(pairs: Sequence[Pair]) -> None:
    first = pairs[0][1]
    for point, evaluation in pairs:
        key, digest = point.checkpoint.key, evaluation.model["digest"]
        if digest is not None and digest != point.model_digest:
            raise BadInputError(
                f"{key}: the weights in {point.folder} (digest {point.model_digest[:12]}) are not those that "
                f"were evaluated ({digest[:12]}): measure and evaluate the same checkpoints"
            )
        if evaluation.suite["digest"] != first.suite["digest"]:
            raise BadInputError(
                f"{key} was evaluated on other problems of {evaluation.suite['name']} than "
                f"{first.checkpoint['key']} (digests {evaluation.suite['digest'][:12]} and "
                f"{first.suite['digest'][:12]}): evaluate all checkpoints on the same"
            )


def _point(point: Point, evaluation: Evaluation, measure: str) -> PerformancePoint:
    checkpoint = point.checkpoint
    assert checkpoint.global_step is not None
    return PerformancePoint(
        key=checkpoint.key,
        stage=checkpoint.stage,
        step=checkpoint.step,
        global_step=checkpoint.global_step,
        rho=point.spearman,
        accuracy=evaluation.estimates[measure],
        fingerprint=point.folder,
    )


def _associations(
    pairs: Sequence[Pair], measure: str, k: int, confidence: float, resamples: int, seed: int
) -> tuple[Association, Association]:
    """Of the points at which both quantities exist; the second with the step held constant."""
    complete = [
        (point, evaluation)
        for point, evaluation in pairs
        if point.spearman.value is not None and evaluation.estimates[measure].value is not None
    ]
    if not complete:
        nothing = Association(None, None, None, 0, "at no checkpoint both rho and accuracy exist")
        return nothing, nothing
    of_samples, of_problems = np.random.default_rng(seed).spawn(2)
    rhos, rho_halves = _rhos([point for point, _ in complete], resamples, of_samples)
    accuracies, accuracy_halves = _accuracies(
        [evaluation for _, evaluation in complete], k, resamples, of_problems
    )
    steps = np.array([point.checkpoint.global_step for point, _ in complete], dtype=np.float64)
    measured = (rhos, accuracies, rho_halves, accuracy_halves)
    return (
        rank_association(*measured, confidence=confidence),
        rank_association(*measured, steps=steps, confidence=confidence),
    )


def _rhos(points: Sequence[Point], resamples: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """rho at each point, float [T], and over halves of the samples, float [B, T]."""
    columns = ["sample", "entropy_bits", "strength"]
    tokens = [read_parquet(point.folder / TOKENS, columns).drop_nulls("strength") for point in points]
    place = {
        sample: i for i, sample in enumerate(sorted({name for table in tokens for name in table["sample"]}))
    }
    halves = half_samples(len(place), resamples, rng)
    of_halves = []
    for table in tokens:
        entropy, strength = (table[name].to_numpy() for name in ("entropy_bits", "strength"))
        series = TokenSeries(entropy, strength, table["sample"].to_list())
        checked = check_series(series, method="spearman", by="position")
        of_halves.append(weighted_statistic(checked)(halves[:, [place[str(name)] for name in checked.ids]]))
    rhos = np.array([point.spearman.value for point in points], dtype=np.float64)
    return rhos, _at_full_size(rhos, np.stack(of_halves, axis=1), len(place))


def _accuracies(
    evaluations: Sequence[Evaluation], k: int, resamples: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """pass@k at each point, float [T], and over halves of the problems, float [B, T]."""
    of_problem = []
    for evaluation in evaluations:
        groups = evaluation.generations.group_by("problem").agg("correct").sort("problem")
        of_problem.append([pass_at_k(len(right), sum(right), k) for right in groups["correct"].to_list()])
    values = np.array(of_problem, dtype=np.float64)
    problems = values.shape[1]
    halves = half_samples(problems, resamples, rng)
    accuracies = values.mean(axis=1)
    return accuracies, _at_full_size(
        accuracies, halves @ values.T / halves.sum(axis=1, keepdims=True), problems
    )


def _at_full_size(values: Array, halves: Array, units: int) -> Array:
    """`halves`, as far from `values` as these are from the truth (Shao & Wu 1989); NaN for one unit."""
    left_out = units // 2
    if left_out == 0:
        return np.full_like(halves, np.nan)
    return values + (halves - values) * math.sqrt((units - left_out) / left_out)
