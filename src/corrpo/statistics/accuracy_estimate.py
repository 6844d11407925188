"""Accuracy over the problems of a benchmark, with an interval clustered by problem.

A benchmark is taken as a sample of problems like it; the generations for one problem are not independent.
So an accuracy is the mean over problems of what was found for each (pass@k, the share of right generations,
the vote), and its interval is about other problems like these, not about running the same ones again.

Interval: Wilson's score interval with an effective sample size and the t quantile with G - 1 degrees of
freedom for G problems. The effective sample size (after Korn and Graubard 1998) is v (1 - v) / SE^2 for the
mean v, SE being the standard error of the mean over problems, and at most the number of generations; where
all problems are alike, SE is 0 and it is G. Without the bound, a rare problem far below the others made
pass@4 cover 82 % ("easy", 30 problems); elsewhere the bound changes next to nothing. There is no interval for
one problem.

How often the 95 % interval holds the truth, in percent (2,000 simulations a cell; one simulation error is
0.5). Chances of being solved are drawn from Beta distributions: easy (8, 2), hard (0.3, 6), split (0.3, 0.3):

                             n=1       n=4      n=16      n=16      n=16      n=16
                          pass@1    pass@1    pass@1    pass@4   pass@16  majority
    easy     30 problems      95.9      94.9      94.5      97.4     100.0      91.0
    easy    100 problems      93.4      95.3      95.5      95.7      99.9      95.0
    easy    500 problems      95.5      94.8      94.9      93.3      99.4      96.9
    hard     30 problems      94.8      96.8      93.4      95.0      96.7      97.4
    hard    100 problems      96.8      94.2      93.8      95.2      95.6      94.0
    hard    500 problems      95.5      94.8      95.1      95.3      94.9      95.1
    split    30 problems      96.0      96.0      96.1      95.7      97.5      95.8
    split   100 problems      95.0      95.0      95.1      95.4      94.5      95.5
    split   500 problems      95.8      95.9      96.2      95.9      94.6      94.0

`tests/statistics/coverage_study_estimates.py` repeats these numbers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from corrpo.errors import BadInputError
from corrpo.statistics.correlation_records import Record


@dataclass(frozen=True)
class Estimate(Record):
    """An accuracy over problems.

    Attributes:
        value: in [0, 1]; None if it does not exist.
        low: lower end of its confidence interval; None if there is none.
        high: upper end.
        n_problems: problems that it is the mean over.
        n_samples: generations behind it, over all problems.
        reason: why something above is None, else None.

    >>> print(Estimate(0.5, 0.31, 0.69, 30, 480))
    50.0 % [31.0, 69.0] (30 problems, 480 generations)
    """

    value: float | None
    low: float | None
    high: float | None
    n_problems: int
    n_samples: int
    reason: str | None = None

    def __str__(self) -> str:
        parts = ["undefined" if self.value is None else f"{100 * self.value:.1f} %"]
        if self.low is not None and self.high is not None:
            parts.append(f"[{100 * self.low:.1f}, {100 * self.high:.1f}]")
        parts.append(f"({self.n_problems:,} problems, {self.n_samples:,} generations)")
        return " ".join(parts) + (f": {self.reason}" if self.reason else "")


def pass_at_k(n: int, c: int, k: int) -> float:
    """The probability that k of n generations, drawn without repeats, hold a right one, when c are right.

    1 - C(n - c, k) / C(n, k), the unbiased estimator of Chen et al. (2021), as a product, exact for any n.

    Returns:
        A number in [0, 1]; NaN for n < k, where there is no unbiased estimate.

    Raises:
        BadInputError: a c outside 0..n, or a k below 1.

    >>> round(pass_at_k(4, 1, 2), 6), pass_at_k(4, 0, 2), pass_at_k(4, 3, 2), pass_at_k(4, 1, 8)
    (0.5, 0.0, 1.0, nan)
    """
    if not 0 <= c <= n or k < 1:
        raise BadInputError(f"pass_at_k(n={n}, c={c}, k={k}): expected 0 <= c <= n and k of 1 or more")
    if n < k:
        return math.nan
    if n - c < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(n - c + 1, n + 1))


def estimate_pass_at_k(correct: Sequence[Sequence[bool]], k: int, *, confidence: float = 0.95) -> Estimate:
    """The mean of `pass_at_k` over problems.

    Args:
        correct: for each problem, whether each of its generations is right.
        k: generations that a problem may take.
        confidence: of the interval, in (0, 1).

    Returns:
        An `Estimate`; its value is None, with the reason, where a problem has fewer than k generations.

    >>> print(estimate_pass_at_k([[True, False], [False, False], [True, True]], 1))
    50.0 % [3.6, 96.4] (3 problems, 6 generations)
    """
    values = [pass_at_k(len(generations), sum(generations), k) for generations in correct]
    total = sum(map(len, correct))
    few = sum(math.isnan(value) for value in values)
    if few:
        reason = f"{few} of {len(values)} problems have fewer than {k} generations"
        return Estimate(None, None, None, len(values), total, reason)
    return estimate_mean(values, total, confidence=confidence)


def estimate_average(correct: Sequence[Sequence[bool]], *, confidence: float = 0.95) -> Estimate:
    """average@n: the mean over problems of the share of right generations; the same as pass@1.

    Args:
        correct: for each problem, whether each of its generations is right; at least one each.
        confidence: of the interval, in (0, 1).

    Returns:
        An `Estimate`; its value is None, with the reason, where a problem has no generation.
    """
    return estimate_pass_at_k(correct, 1, confidence=confidence)


def estimate_mean(values: Sequence[float], n_samples: int, *, confidence: float = 0.95) -> Estimate:
    """The mean of one value in [0, 1] for each problem, with the interval of this module.

    Args:
        values: one for each problem.
        n_samples: generations behind all of them, at least one for each problem.
        confidence: of the interval, in (0, 1).

    Raises:
        BadInputError: a value outside [0, 1], fewer generations than problems, or a confidence outside
            (0, 1).

    >>> print(estimate_mean([1.0] * 30, 30))
    100.0 % [87.8, 100.0] (30 problems, 30 generations)
    """
    if not 0 < confidence < 1:
        raise BadInputError(f"confidence={confidence}: expected a number between 0 and 1")
    array = np.asarray(values, dtype=np.float64)
    if array.size and not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1 + 1e-12):
        raise BadInputError(f"values from {array.min()} to {array.max()}: expected numbers in [0, 1]")
    count = len(array)
    if not count:
        return Estimate(None, None, None, 0, n_samples, "there are no problems")
    if n_samples < count:
        raise BadInputError(f"n_samples={n_samples} for {count} problems: expected one or more for each")
    mean = float(min(array.mean(), 1.0))
    if count == 1:
        return Estimate(mean, None, None, 1, n_samples, "one problem: an interval needs at least two")
    error = float(array.std(ddof=1)) / math.sqrt(count)
    size = min(mean * (1 - mean) / error**2, n_samples) if error > 1e-12 else count
    low, high = _wilson(mean, size, count, confidence)
    return Estimate(mean, low, high, count, n_samples)


_CANCELLED = 1e-9
"""Ends of an interval so near 0 or 1 are not found by subtraction, whose rounding is as large."""


def _wilson(mean: float, size: float, problems: int, confidence: float) -> tuple[float, float]:
    """Wilson's interval at an effective sample size, with the t quantile for so many problems."""
    from scipy import stats  # not above: the record of an accuracy is read without it

    quantile = float(stats.t.ppf((1 + confidence) / 2, problems - 1))
    shrunk = quantile**2 / size
    centre = (mean + shrunk / 2) / (1 + shrunk)
    half = quantile / (1 + shrunk) * math.sqrt(mean * (1 - mean) / size + shrunk / (4 * size))
    low, high = centre - half, centre + half
    if (
        low < _CANCELLED
    ):  # Vieta: the ends are the roots of a quadratic with the product mean^2 / (1 + shrunk)
        low = mean**2 / ((1 + shrunk) * high)
    if 1 - high < _CANCELLED:
        high = 1 - (1 - mean) ** 2 / ((1 + shrunk) * (1 - low))
    return max(0.0, min(mean, low)), min(1.0, max(mean, high))
