"""The power of a comparison of two arms: the difference these runs can show, and the seeds that one takes."""

import numpy as np
from scipy import special, stats

from corrpo.experiments.arm_difference import Contrast

MOST_SEEDS = 10_000
"""Seeds beyond which no number of seeds is given."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)
_NODES, _WEIGHTS = (_NODES + 1) / 2, _WEIGHTS / 2
# Of the noncentral t, as a mean over quantiles of the spread: scipy's nctdtrinc can go on for ever.


def detectable_difference(contrast: Contrast, *, alpha: float, power: float = 0.8) -> float | None:
    """The smallest true difference that runs like these find with the given power; None without an interval.

    Error and degrees of freedom of `contrast` are taken as the true ones, which with few seeds they may be
    far from. `alpha` is the two-sided level after correction.

    >>> contrast = Contrast(0.0, -0.05, 0.05, 1.0, 5, 200, 4.0, 0.00162, 0.0)
    >>> round(detectable_difference(contrast, alpha=0.05), 3)
    0.068
    """
    return max((error * _noncentrality(df, alpha, power) for error, df in contrast.errors()), default=None)


def seeds_needed(
    contrast: Contrast, difference: float, *, alpha: float, power: float = 0.8, most: int = MOST_SEEDS
) -> int | None:
    """How many seeds would find a true difference with the given power, problems being as many as here.

    None beyond `most`: then it takes more problems. The variances are those of `contrast`.

    >>> seeds_needed(Contrast(0.0, -0.05, 0.05, 1.0, 5, 200, 4.0, 0.00162, 0.0), 0.05, alpha=0.05)
    8
    """
    if contrast.df is None or not _are_enough(contrast, difference, most, alpha, power):
        return None
    low, high = 1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (
            (low, middle) if _are_enough(contrast, difference, middle, alpha, power) else (middle, high)
        )
    return high


def _are_enough(contrast: Contrast, difference: float, seeds: int, alpha: float, power: float) -> bool:
    return all(error * _noncentrality(df, alpha, power) <= difference for error, df in contrast.errors(seeds))


def _noncentrality(df: float, alpha: float, power: float) -> float:
    """The noncentrality, in standard errors, at which a two-sided t-test has the wanted power."""
    critical = float(stats.t.ppf(1 - alpha / 2, df))
    scales = np.sqrt(stats.chi2.ppf(_NODES, df) / df)
    low, high = 0.0, 4 * critical + 10
    while high - low > 1e-7 * high:
        middle = (low + high) / 2
        reached = float(_WEIGHTS @ special.ndtr(middle - critical * scales)) >= power
        low, high = (low, middle) if reached else (middle, high)
    return high
