"""Correlation of entropy and gradient strength, with intervals over samples, permutation p and comparison.

Names are imported when they are first used, so that records of results come without numpy and scipy.
"""

from typing import TYPE_CHECKING

from corrpo.errors import lazy_attributes

if TYPE_CHECKING:
    from corrpo.statistics.coefficients import UndefinedCorrelationError as UndefinedCorrelationError
    from corrpo.statistics.coefficients import partial_spearman as partial_spearman
    from corrpo.statistics.coefficients import pearson as pearson
    from corrpo.statistics.coefficients import spearman as spearman
    from corrpo.statistics.correlation_estimate import correlate as correlate
    from corrpo.statistics.correlation_records import Correlation as Correlation
    from corrpo.statistics.correlation_records import Difference as Difference
    from corrpo.statistics.difference_estimate import compare as compare
    from corrpo.statistics.token_series import TokenSeries as TokenSeries

__getattr__ = lazy_attributes(
    __name__,
    {
        "coefficients": "UndefinedCorrelationError partial_spearman pearson spearman",
        "correlation_estimate": "correlate",
        "correlation_records": "Correlation Difference",
        "difference_estimate": "compare",
        "token_series": "TokenSeries",
    },
)
