"""Correlation of entropy and gradient strength, with intervals over samples, permutation p and comparison.

Names are imported when they are first used, so that records of results come without numpy and scipy.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

_HOMES = {
    "Correlation": "correlation_records",
    "Difference": "correlation_records",
    "TokenSeries": "token_series",
    "UndefinedCorrelationError": "coefficients",
    "compare": "difference_estimate",
    "correlate": "correlation_estimate",
    "partial_spearman": "coefficients",
    "pearson": "coefficients",
    "spearman": "coefficients",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
