"""The difference of two models' correlations over the same samples.

Both models answered the same prompts, so a hard prompt is hard for both: each resample draws sample ids once
and takes them from both models. The interval is that of `corrpo.statistics.interval`, on the plain scale, for
the G samples both have; p is the two-sided p of the same t, so that p < 0.05 exactly where the 95 % interval
leaves 0 out. Swapping the models at random within samples was not used: that tests that the models are alike
in everything (scale of entropy, scale of strength, lengths), where the question is whether their correlations
are.
"""

import numpy as np

from corrpo.errors import BadInputError
from corrpo.statistics.coefficients import Array
from corrpo.statistics.correlation_estimate import value_of
from corrpo.statistics.correlation_records import Difference
from corrpo.statistics.interval import DEFAULT_INTERVAL, INTERVALS, difference_interval
from corrpo.statistics.settings import check_settings
from corrpo.statistics.token_series import Columns, TokenSeries, check_series, one_of
from corrpo.statistics.weighted_coefficients import weighted_statistic

NAMED = 5
"""How many sample ids an error message lists."""


def compare(
    a: TokenSeries,
    b: TokenSeries,
    *,
    method: str = "spearman",
    by: str = "position",
    interval: str = DEFAULT_INTERVAL,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    on_missing: str = "error",
) -> Difference:
    """The correlation of model `b` less that of model `a`, with interval and p-value.

    Args:
        a: tokens of the first model.
        b: tokens of the second, with the same sample ids (responses and their lengths may differ).
        method: as in `correlate`.
        by: as in `correlate`; each model has its own unique tokens.
        interval: as in `correlate`.
        confidence: of the interval.
        resamples: of the shared samples; 0 for no interval and no p.
        seed: the same seed gives the same numbers.
        on_missing: "error", or "drop" to leave out the samples that only one model has.

    Returns:
        A `Difference`; two identical series of two samples or more give 0 [0, 0] with p = 1. Where a part
        does not exist, it is None and `reason` says why.

    Raises:
        BadInputError: as in `correlate`, and samples that only one model has (unless dropped), or no
            sample in common.

    >>> a = TokenSeries([1.0, 2.0, 3.0, 1.0, 2.0, 3.0], [1.0, 3.0, 2.0, 1.0, 2.0, 4.0], [0, 0, 0, 1, 1, 1])
    >>> print(compare(a, a))
    0.00 [0.00, 0.00] p of t=1.00 (2 samples)
    """
    check_settings(confidence, resamples=resamples)
    one_of("interval", interval, tuple(INTERVALS))
    one_of("on_missing", on_missing, ("error", "drop"))
    first = check_series(a, method=method, by=by, label="model a: ")
    second = check_series(b, method=method, by=by, label="model b: ")
    first, second, dropped = _paired(first, second, on_missing)
    (value_a, _, reason_a), (value_b, _, reason_b) = value_of(first), value_of(second)
    n = first.n_samples
    if value_a is None or value_b is None:
        reasons = [f"model {name}: {why}" for name, why in (("a", reason_a), ("b", reason_b)) if why]
        return Difference(None, None, None, None, n, dropped, "; ".join(reasons))
    of_a, of_b = weighted_statistic(first), weighted_statistic(second)

    def difference(weights: Array) -> Array:
        return of_b(weights) - of_a(weights)

    value = value_b - value_a
    rng = np.random.default_rng(seed)
    made = difference_interval(
        value, difference, n, method=interval, confidence=confidence, resamples=resamples, rng=rng
    )
    return Difference(value, made.low, made.high, made.p, n, dropped, made.reason)


def _paired(a: Columns, b: Columns, on_missing: str) -> tuple[Columns, Columns, int]:
    """Both series over the samples they share, and how many samples that left out."""
    if (a.ids.dtype.kind in "iu") != (b.ids.dtype.kind in "iu"):
        raise BadInputError(
            f"sample ids must be of one type: model a has {a.ids.dtype}, model b {b.ids.dtype}"
        )
    in_both_a, in_both_b = np.isin(a.ids, b.ids), np.isin(b.ids, a.ids)
    only_a, only_b = a.ids[~in_both_a], b.ids[~in_both_b]
    if not in_both_a.any():
        raise BadInputError(f"the models have no sample in common: {_some(a.ids)} against {_some(b.ids)}")
    if on_missing == "error" and len(only_a) + len(only_b):
        unshared = [
            f"only in model {name}: {_some(ids)}" for name, ids in (("a", only_a), ("b", only_b)) if len(ids)
        ]
        raise BadInputError(
            f'{"; ".join(unshared)}. Measure both on the same samples, or pass on_missing="drop"'
        )
    return a.only(in_both_a), b.only(in_both_b), len(only_a) + len(only_b)


def _some(ids: np.ndarray) -> str:
    named = ", ".join(repr(value) for value in ids[:NAMED].tolist())
    return named + (f" and {len(ids) - NAMED:,} more" if len(ids) > NAMED else "")
