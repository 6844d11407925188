"""Correlation of entropy and gradient strength, with intervals over samples, permutation p and comparison."""

from corrpo.statistics.compare import compare
from corrpo.statistics.correlate import correlate
from corrpo.statistics.correlation import UndefinedCorrelationError, partial_spearman, pearson, spearman
from corrpo.statistics.results import Correlation, Difference
from corrpo.statistics.series import TokenSeries

__all__ = [
    "Correlation",
    "Difference",
    "TokenSeries",
    "UndefinedCorrelationError",
    "compare",
    "correlate",
    "partial_spearman",
    "pearson",
    "spearman",
]
