"""How much of the gain in accuracy goes with the change in rho, over arms and seeds: association, not cause.

Runs are compared with those of the same model and seed: of accuracy and of the change in rho each run keeps
what differs from the mean over arms, and a line goes through these pairs. What moves both (longer responses,
say) puts a slope there too; the arms that hold rho are what speaks of cause. The interval leaves out one arm
at a time (jackknife, t with arms - 1 degrees of freedom), as the seeds of an arm are no independent points.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from corrpo.statistics.correlation import Array
from corrpo.statistics.results import Record

FEWEST = 4
"""Arms below which there is no interval."""


@dataclass(frozen=True)
class Accompaniment(Record):
    """Accuracy against the change in rho over runs.

    Attributes:
        slope: accuracy per unit of rho; None if there is none.
        low: lower end of its interval; None if there is none.
        high: upper end.
        share: part of the variance of accuracy, between runs of a model and seed, that the line takes up.
        gain: of the treatment over the baseline.
        along: the part of that gain that lies along the line: slope x (their difference of change in rho).
        n_runs: runs that it is over.
        n_arms: arms.
        reason: why something above is None, else None.
    """

    slope: float | None
    low: float | None
    high: float | None
    share: float | None
    gain: float
    along: float | None
    n_runs: int
    n_arms: int
    reason: str | None = None


def accompaniment(
    accuracy: Mapping[str, Array],
    change: Mapping[str, Array],
    *,
    treatment: str,
    baseline: str,
    confidence: float = 0.95,
) -> Accompaniment:
    """The line of this module.

    Args:
        accuracy: of each arm, float [runs], a run for each model and seed, in the same order for all arms.
        change: likewise, of rho, after less before; NaN where rho does not exist, and that model and seed is
            left out of all arms.
        treatment: an arm.
        baseline: another.
        confidence: of the interval.
    """
    arms = list(accuracy)
    y, x = np.array([accuracy[arm] for arm in arms]), np.array([change[arm] for arm in arms])
    whole = np.isfinite(x).all(axis=0)
    y, x = y[:, whole], x[:, whole]
    gain = float((accuracy[treatment] - accuracy[baseline]).mean())
    sizes = x.size, len(arms)
    slope = _slope(x, y)
    if slope is None:
        reason = "rho does not exist or does not differ between arms"
        return Accompaniment(None, None, None, None, gain, None, *sizes, reason)
    rows, columns = _centred(x), _centred(y)
    total = float((columns**2).sum())
    share = None if total < 1e-15 else slope**2 * float((rows**2).sum()) / total
    moved = x[arms.index(treatment)] - x[arms.index(baseline)]
    along = slope * float(moved.mean())
    without = [_slope(np.delete(x, i, axis=0), np.delete(y, i, axis=0)) for i in range(len(arms))]
    left = [each for each in without if each is not None]
    if len(arms) < FEWEST or len(left) < len(arms):
        reason = f"{len(arms)} arms: an interval needs {FEWEST}, of which any but one have a slope"
        return Accompaniment(slope, None, None, share, gain, along, *sizes, reason)
    count = len(arms)
    error = math.sqrt((count - 1) / count * float(((np.array(left) - np.mean(left)) ** 2).sum()))
    half = float(stats.t.ppf((1 + confidence) / 2, count - 1)) * error
    return Accompaniment(slope, slope - half, slope + half, share, gain, along, *sizes)


def _centred(table: Array) -> Array:
    """float [arms, runs] less the mean over arms."""
    return table - table.mean(axis=0)


def _slope(x: Array, y: Array) -> float | None:
    if len(x) < 2 or not x.size:
        return None
    rows = _centred(x)
    spread = float((rows**2).sum())
    return None if spread < 1e-15 else float((rows * _centred(y)).sum()) / spread
