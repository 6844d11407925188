"""How much of the gain in accuracy goes with the change in rho, over arms and seeds: association, not cause.

Runs are compared with those of the same model and seed: of accuracy and of the change in rho each run keeps
what differs from the mean over arms, and a line goes through these pairs. The treatment and the baseline are
left out of it, as they would draw the line by which their own difference is then judged: in simulations where
rho does nothing and the treatment gains by another road, a line through all arms gave it half to all of the
gain. The interval leaves out one arm at a time (jackknife, t with arms - 1 degrees of freedom), as the seeds
of an arm are no independent points; an arm whose runs equal another's counts once.

What moves both, longer responses say, puts a slope there too, and error in rho draws the slope towards 0: the
arms that hold rho are what speaks of cause.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from corrpo.statistics.coefficients import Array
from corrpo.statistics.correlation_records import Record

FEWEST_ARMS = 4
"""Arms below which there is no interval."""


@dataclass(frozen=True)
class AccuracyAgainstRho(Record):
    """Accuracy against the change in rho over the runs of all arms but treatment and baseline.

    Attributes:
        slope: accuracy per unit of rho; None if there is none.
        low: lower end of its interval; None if there is none.
        high: upper end.
        gain: of the treatment over the baseline, in accuracy, over the runs that have a rho.
        along: the part of that gain that the line foretells: slope x (their difference of change in rho).
        along_low: lower end of its interval, that of the slope alone; None if there is none.
        along_high: upper end.
        n_runs: runs that the line is over.
        n_arms: arms.
        reason: why something above is None, else None.
    """

    slope: float | None
    low: float | None
    high: float | None
    gain: float | None
    along: float | None
    along_low: float | None
    along_high: float | None
    n_runs: int
    n_arms: int
    reason: str | None = None


def accuracy_against_rho(
    accuracy: Mapping[str, Array],
    change: Mapping[str, Array],
    *,
    treatment: str,
    baseline: str,
    confidence: float = 0.95,
) -> AccuracyAgainstRho:
    """The line of this module.

    Args:
        accuracy: of each arm, float [runs], a run for each model and seed, in the same order for all arms.
        change: likewise, of rho, after less before; NaN where rho does not exist, and that model and seed is
            left out of all arms.
        treatment: an arm.
        baseline: another.
        confidence: of the interval.
    """
    has_rho = np.isfinite(np.array(list(change.values()))).all(axis=0)
    pairs = {arm: (change[arm][has_rho], accuracy[arm][has_rho]) for arm in accuracy}
    gain = change_of_treatment = None
    if has_rho.any():
        change_of_treatment, gain = (float((pairs[treatment][i] - pairs[baseline][i]).mean()) for i in (0, 1))
    others = _distinct([pairs[arm] for arm in accuracy if arm not in (treatment, baseline)])
    sizes = len(others) * int(has_rho.sum()), len(others)
    slope = _slope(others)
    if slope is None or change_of_treatment is None:
        reason = "rho does not exist or does not differ between the other arms"
        if len(others) < 2:
            reason = (
                f"it takes 2 different arms besides {treatment} and {baseline}, for an interval {FEWEST_ARMS}"
            )
        return AccuracyAgainstRho(None, None, None, gain, None, None, None, *sizes, reason)
    without = [_slope(others[:i] + others[i + 1 :]) for i in range(len(others))]
    slopes = [slope_without_one for slope_without_one in without if slope_without_one is not None]
    along = slope * change_of_treatment
    if len(others) < FEWEST_ARMS or len(slopes) < len(others):
        reason = (
            f"{len(others)} other arms: an interval needs {FEWEST_ARMS}, of which any but one have a slope"
        )
        return AccuracyAgainstRho(slope, None, None, gain, along, None, None, *sizes, reason)
    count = len(others)
    error = math.sqrt((count - 1) / count * float(((np.array(slopes) - np.mean(slopes)) ** 2).sum()))
    half = float(stats.t.ppf((1 + confidence) / 2, count - 1)) * error
    low, high = sorted(end * change_of_treatment for end in (slope - half, slope + half))
    return AccuracyAgainstRho(slope, slope - half, slope + half, gain, along, low, high, *sizes)


def _distinct(pairs: Sequence[tuple[Array, Array]]) -> list[tuple[Array, Array]]:
    """Without those that equal an earlier one."""
    distinct: list[tuple[Array, Array]] = []
    for pair in pairs:
        if not any(all(map(np.array_equal, pair, earlier)) for earlier in distinct):
            distinct.append(pair)
    return distinct


def _slope(pairs: Sequence[tuple[Array, Array]]) -> float | None:
    """Of the second of each pair on the first, both less the mean over arms."""
    if len(pairs) < 2 or not pairs[0][0].size:
        return None
    x, y = (np.array([pair[i] for pair in pairs]) for i in (0, 1))
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    spread = float((x**2).sum())
    return None if spread < 1e-15 else float((x * y).sum()) / spread
