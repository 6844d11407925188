"""Accuracy and rho over the checkpoints of a run (figure 4), and how the two go together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from corrpo.comparison import measured_tokens
from corrpo.dynamics.trajectory import Point, Trajectory
from corrpo.errors import BadInputError
from corrpo.evaluation.results import Evaluation
from corrpo.fingerprint import Fingerprint
from corrpo.statistics import Correlation, TokenSeries
from corrpo.statistics.association import Association, rank_association
from corrpo.statistics.estimates import Estimate, pass_at_k
from corrpo.statistics.interval import half_samples
from corrpo.statistics.series import check_series
from corrpo.statistics.weighted import weighted_statistic

Array = NDArray[np.float64]
MEASURE = "pass@1"


@dataclass(frozen=True)
class PerformancePoint:
    """One checkpoint that was both measured and evaluated.

    Attributes:
        key: STAGE/step-000200.
        at: optimizer steps since training began.
        rho: Spearman's rho over token positions.
        accuracy: of the measure, over the problems of the suite.
        fingerprint: folder of the fingerprint.
    """

    key: str
    at: int
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
        association: rank correlation of the two over the checkpoints.
        association_given_step: the same with the step held constant.
    """

    label: str
    suite: str
    measure: str
    points: tuple[PerformancePoint, ...]
    left_out: tuple[str, ...]
    association: Association
    association_given_step: Association


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
        trajectory: where rho was measured.
        evaluations: where accuracy was; those of other suites are passed over.
        suite: name of the suite.
        measure: pass@k for some k.
        resamples: halves of samples and problems behind each interval.
        seed: of their choice.

    Raises:
        BadInputError: a checkpoint whose weights were others when it was evaluated.
    """
    points = {point.checkpoint.key: point for point in trajectory.points if point.checkpoint.at is not None}
    found = {
        each.checkpoint["key"]: each
        for each in evaluations
        if each.suite["name"] == suite and measure in each.estimates
    }
    both = [key for key in points if key in found]
    if not both:
        return None
    for key in both:
        _check_same_model(points[key], found[key])
    pairs = [(points[key], found[key]) for key in both]
    rhos, rho_halves = _rhos([point for point, _ in pairs], resamples, np.random.default_rng([seed, 1]))
    accuracies, halves = _accuracies([each for _, each in pairs], measure, resamples, seed)
    steps = np.array([point.checkpoint.at for point, _ in pairs], dtype=np.float64)
    measured = (rhos, accuracies, rho_halves, halves)
    confidence = float(trajectory.settings["confidence"])
    return Performance(
        label=trajectory.label,
        suite=suite,
        measure=measure,
        points=tuple(
            PerformancePoint(
                point.checkpoint.key,
                point.checkpoint.at or 0,
                point.spearman,
                each.estimates[measure],
                point.folder,
            )
            for point, each in pairs
        ),
        left_out=tuple(sorted(set(points) ^ set(found))),
        association=rank_association(*measured, confidence=confidence),
        association_given_step=rank_association(*measured, steps=steps, confidence=confidence),
    )


def _check_same_model(point: Point, evaluation: Evaluation) -> None:
    digest = evaluation.model["digest"]
    if digest is not None and digest != point.model_digest:
        raise BadInputError(
            f"{point.checkpoint.key}: the weights in {point.folder} (digest {point.model_digest[:12]}) "
            f"are not "
            f"those that were evaluated ({digest[:12]}): measure and evaluate the same checkpoints"
        )


def _rhos(points: Sequence[Point], resamples: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """rho of each point, and of halves of the samples, the same halves for every point: [T], [B, T]."""
    tokens = [measured_tokens(Fingerprint.load(point.folder)) for point in points]
    ids = sorted({sample for each in tokens for sample in each["sample"].unique()})
    halves = half_samples(len(ids), resamples, rng) if len(ids) > 1 else np.ones((resamples, len(ids)))
    place = {sample: number for number, sample in enumerate(ids)}
    columns = []
    for each in tokens:
        series = check_series(
            TokenSeries(
                each["entropy_bits"].to_numpy(), each["strength"].to_numpy(), each["sample"].to_list()
            ),
            method="spearman",
            by="position",
        )
        own = halves[:, [place[str(sample)] for sample in series.ids]]
        columns.append(weighted_statistic(series)(own))
    values = [np.nan if point.spearman.value is None else point.spearman.value for point in points]
    return np.array(values, dtype=np.float64), np.stack(columns, axis=1)


def _accuracies(
    evaluations: Sequence[Evaluation], measure: str, resamples: int, seed: int
) -> tuple[Array, Array]:
    """Accuracy at each point, and over halves of the problems, the same halves for every point."""
    k = int(measure.removeprefix("pass@"))
    rows = []
    for each in evaluations:
        groups = each.generations.group_by("problem").agg("correct").sort("problem")["correct"].to_list()
        rows.append([pass_at_k(len(right), sum(right), k) for right in groups])
    values = np.array(rows, dtype=np.float64)
    count = values.shape[1]
    rng = np.random.default_rng([seed, 2])
    halves = half_samples(count, resamples, rng) if count > 1 else np.ones((resamples, count))
    return values.mean(axis=1), halves @ values.T / halves.sum(axis=1, keepdims=True)


def performance_table(performances: Sequence[Performance]) -> pl.DataFrame:
    """A row per checkpoint: run, suite, measure, key, at, rho and accuracy with their intervals, folder."""
    rows = [
        {
            "run": each.label,
            "suite": each.suite,
            "measure": each.measure,
            "key": point.key,
            "at": point.at,
            "rho": point.rho.value,
            "rho_low": point.rho.low,
            "rho_high": point.rho.high,
            "accuracy": point.accuracy.value,
            "accuracy_low": point.accuracy.low,
            "accuracy_high": point.accuracy.high,
            "fingerprint": str(point.fingerprint),
        }
        for each in performances
        for point in each.points
    ]
    return pl.DataFrame(rows, infer_schema_length=None)
