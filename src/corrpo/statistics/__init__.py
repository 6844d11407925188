"""Correlation of entropy and gradient strength, with intervals over samples, permutation p and comparison."""

from corrpo.statistics.coefficients import UndefinedCorrelationError, partial_spearman, pearson, spearman
from corrpo.statistics.correlation_estimate import correlate
from corrpo.statistics.correlation_records import Correlation, Difference
from corrpo.statistics.difference_estimate import compare
from corrpo.statistics.token_series import TokenSeries

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
