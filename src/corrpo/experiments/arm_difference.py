"""The difference between two arms, paired by seed and problem, with an interval that holds its level.

Both arms ran with the same seeds and were asked the same problems, so that what is analysed is a table of
differences d[s, p], seeds by problems. It is taken as crossed random effects: another seed and another
problem would each have given another difference,

    d[s, p] = mean + seed[s] + problem[p] + rest[s, p]

and the interval is for the mean over all seeds and problems like these. With the mean squares of the two-way
table, MS_s, MS_p and MS_r, the variance of the grand mean is (MS_s + max(MS_p - MS_r, 0)) / (S P), and t has
Satterthwaite's degrees of freedom, as in the quasi-F test of Clark (1973), but never fewer than
min(S, P) - 1: where MS_p is a hair above MS_r they would fall far below 1. With two or three seeds they come
out too many, so that the t of the seeds' means (variance MS_s / (S P), S - 1 degrees of freedom) is looked at
too: of both, the wider interval and the larger p-value count.

Why not the t of the seeds' means alone: its interval is about these problems only, and about others it is too
narrow. Why not a bootstrap: five seeds drawn with repeats spread too little, and what is left over in each
cell is counted twice, so that it is too narrow or too wide as the one or the other prevails. Measured
coverage of the 95 % interval, in percent (2,000 simulations a cell, 200 problems; one simulation error is
0.5), where seeds and problems have these standard deviations and the rest has 0.4; the bootstrap draws seeds
and problems and takes percentiles:

    sd: seeds  problems    2 seeds   3 seeds   5 seeds   8 seeds    t of 5   boot. 5
         0.00      0.00       96.6      96.2      96.0      95.2      95.5      99.5
         0.02      0.00       97.5      95.3      95.5      95.1      95.2      99.0
         0.05      0.00       95.9      94.3      95.6      95.0      95.5      94.9
         0.00      0.15       97.1      96.2      94.0      94.5      89.6      98.8
         0.02      0.15       97.2      95.2      93.8      94.5      91.2      97.8
         0.05      0.15       96.0      94.6      94.3      94.8      93.6      94.8
         0.05      0.30       95.9      95.0      94.4      94.6      90.5      95.0
         0.20      0.40       94.7      94.8      95.1      94.9      95.0      87.9

`tests/experiments/coverage_study_arm_difference.py` repeats these numbers.
"""

import math
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from scipy import stats

from corrpo.errors import BadInputError
from corrpo.statistics.coefficients import Array
from corrpo.statistics.correlation_records import Record

FEWEST_SEEDS = 3
"""Seeds below which a report shows no interval: a t of one degree of freedom spans more than is possible."""


@dataclass(frozen=True)
class Contrast(Record):
    """The mean difference between two arms.

    Attributes:
        value: the mean over seeds and problems, in units of the outcome.
        low: lower end of its confidence interval; None if there is none.
        high: upper end.
        p: two-sided p-value of no difference; None without an interval.
        n_seeds: seeds that both arms ran with.
        n_problems: problems that both were asked.
        df: degrees of freedom of the crossed t.
        by_seed: variance of the mean that one seed has: divided by the number of seeds, that of the t of
            their means, and a part of that of the crossed t.
        by_problem: the other part, which more seeds do not lower.
        reason: why something above is None, else None.

    >>> print(Contrast(0.031, 0.012, 0.05, 0.0043, 5, 200, 4.2, 1e-4, 1e-5))
    +3.1 [+1.2, +5.0] points, p of t=0.0043 (5 seeds, 200 problems)
    """

    value: float
    low: float | None
    high: float | None
    p: float | None
    n_seeds: int
    n_problems: int
    df: float | None = None
    by_seed: float | None = None
    by_problem: float | None = None
    reason: str | None = None

    def __str__(self) -> str:
        sizes = f"({self.n_seeds} seeds, {self.n_problems:,} problems)"
        if self.low is None or self.high is None or self.p is None:
            return f"{100 * self.value:+.1f} points {sizes}: {self.reason}"
        interval = f"[{100 * self.low:+.1f}, {100 * self.high:+.1f}] points"
        return f"{100 * self.value:+.1f} {interval}, p of t={self.p:.2g} {sizes}"

    @property
    def shown(self) -> "Contrast":
        """As a report shows it: see `_as_shown`; a difference lies in [-1, 1]."""
        return _as_shown(self, -1, 1)

    def p_at_least(self, size: float) -> float | None:
        """One-sided p-value of a true difference of `size` or more; None without an interval."""
        if self.df is None:
            return None
        return max(float(stats.t.cdf((self.value - size) / error, df)) for error, df in self.errors())

    def errors(self, seeds: int | None = None) -> list[tuple[float, float]]:
        """Standard error and degrees of freedom of the crossed t and of the t of the seeds' means.

        Args:
            seeds: as if so many had been run, of the same variances; those that were, if not given.

        Returns:
            Both, or nothing without an interval.
        """
        if self.df is None or self.by_seed is None or self.by_problem is None:
            return []
        if seeds is None:
            number, df = self.n_seeds, self.df
        else:
            number, of_seeds = seeds, self.by_seed / seeds
            doubt = of_seeds**2 / (seeds - 1) + self.by_problem**2 / (self.n_problems - 1)
            df = max((of_seeds + self.by_problem) ** 2 / doubt, min(seeds, self.n_problems) - 1.0)
        of_seeds = self.by_seed / number
        both = [(math.sqrt(of_seeds + self.by_problem), df), (math.sqrt(of_seeds), number - 1.0)]
        return [(error, df) for error, df in both if error > 0]


def crossed_contrast(differences: Array, *, confidence: float = 0.95) -> Contrast:
    """The mean of a table of differences, with the interval of this module.

    Args:
        differences: float [S, P], of each seed and problem.
        confidence: of the interval, in (0, 1).

    Returns:
        A `Contrast`; without an interval for fewer than two seeds or problems, or where no difference differs
        from another.

    Raises:
        BadInputError: an empty table, values that are not finite, or a confidence outside (0, 1).

    >>> rng = np.random.default_rng(0)
    >>> print(crossed_contrast(0.05 + rng.normal(0, 0.02, (5, 1)) + rng.normal(0, 0.3, (5, 100))))
    +4.3 [+1.4, +7.2] points, p of t=0.014 (5 seeds, 100 problems)
    """
    if differences.ndim != 2 or not differences.size or not np.isfinite(differences).all():
        raise BadInputError(
            f"differences of shape {differences.shape}: expected finite numbers, seeds by problems"
        )
    if not 0 < confidence < 1:
        raise BadInputError(f"confidence={confidence}: expected a number between 0 and 1")
    seeds, problems = differences.shape
    value = float(differences.mean())
    if seeds < 2 or problems < 2:
        few = "seed" if seeds < 2 else "problem"
        reason = f"one {few}: an interval needs two or more"
        return Contrast(value, None, None, None, seeds, problems, reason=reason)
    by_seed, by_problem = differences.mean(axis=1), differences.mean(axis=0)
    rest = differences - by_seed[:, None] - by_problem[None, :] + value
    of_seeds = problems * float(by_seed.var(ddof=1))
    of_problems = seeds * float(by_problem.var(ddof=1))
    of_rest = float((rest**2).sum()) / ((seeds - 1) * (problems - 1))
    added = max(of_problems - of_rest, 0.0)
    if of_seeds + added < 1e-15:
        same = not differences.any()
        reason = "both gave the same answers" if same else "the mean difference is the same for every seed"
        return Contrast(value, None, None, None, seeds, problems, reason=reason)
    doubt = of_seeds**2 / (seeds - 1)
    if added:
        doubt += of_problems**2 / (problems - 1) + of_rest**2 / ((seeds - 1) * (problems - 1))
    df = max((of_seeds + added) ** 2 / doubt, min(seeds, problems) - 1.0)
    contrast = Contrast(
        value, None, None, None, seeds, problems, df, of_seeds / problems, added / differences.size
    )
    half = max(float(stats.t.ppf((1 + confidence) / 2, df)) * error for error, df in contrast.errors())
    p = max(2 * float(stats.t.sf(abs(value) / error, df)) for error, df in contrast.errors())
    return replace(contrast, low=value - half, high=value + half, p=p)


@dataclass(frozen=True)
class SeedMean(Record):
    """A mean over seeds with its t interval: of the seeds alone, for the same problems and prompts.

    `low` and `high` are None for one seed; `value` is None where no seed has a value.
    """

    value: float | None
    low: float | None
    high: float | None
    n_seeds: int

    def within(self, least: float, most: float) -> "SeedMean":
        """As a report shows it: see `_as_shown`.

        >>> SeedMean(0.2, -2.15, 2.61, 2).within(0, 1)
        SeedMean(value=0.2, low=None, high=None, n_seeds=2)
        >>> SeedMean(0.2, -0.1, 0.5, 3).within(0, 1).low
        0
        """
        return _as_shown(self, least, most)


_Shown = TypeVar("_Shown", Contrast, SeedMean)


def _as_shown(result: _Shown, least: float, most: float) -> _Shown:
    """No interval from fewer than `FEWEST_SEEDS`, and none beyond what is possible."""
    if result.low is None or result.high is None or result.n_seeds < FEWEST_SEEDS:
        return replace(result, low=None, high=None)
    return replace(result, low=max(result.low, least), high=min(result.high, most))


def mean_over_seeds(values: Array, confidence: float) -> SeedMean:
    """The mean of float [seeds], over the seeds that have a value.

    >>> mean = mean_over_seeds(np.array([1.0, 2.0, 3.0, np.nan]), 0.95)
    >>> mean.value, round(mean.low, 3), mean.n_seeds
    (2.0, -0.484, 3)
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return SeedMean(None, None, None, 0)
    value = float(finite.mean())
    if len(finite) == 1:
        return SeedMean(value, None, None, 1)
    quantile = float(stats.t.ppf((1 + confidence) / 2, len(finite) - 1))
    half = quantile * float(finite.std(ddof=1)) / math.sqrt(len(finite))
    return SeedMean(value, value - half, value + half, len(finite))
