"""The correlation of entropy and strength over the tokens of one model, with interval and p-value."""

import numpy as np

from corrpo.statistics.coefficients import Vector, undefined_reason
from corrpo.statistics.correlation_records import Correlation
from corrpo.statistics.interval import DEFAULT_INTERVAL, INTERVALS, correlation_interval
from corrpo.statistics.permutation import cannot_permute, permutation_p
from corrpo.statistics.settings import check_settings
from corrpo.statistics.token_series import Columns, TokenSeries, check_series, one_of
from corrpo.statistics.weighted_coefficients import TokenAverages, weighted_statistic

DETERMINED = "position orders entropy or strength completely: nothing is left to correlate"


def correlate(
    entropy: Vector,
    strength: Vector,
    sample: Vector,
    *,
    method: str = "spearman",
    by: str = "position",
    interval: str = DEFAULT_INTERVAL,
    position: Vector | None = None,
    token_id: Vector | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    permutations: int = 1000,
    seed: int = 0,
) -> Correlation:
    """Correlate token entropy with gradient strength.

    Args:
        entropy: float [n], bits, finite.
        strength: float [n], finite.
        sample: int or str [n], the sample of each token, in any order.
        method: "spearman", "pearson", or "partial_spearman" (position partialled out).
        by: "position", every response token once; or "token", every unique token id once, with entropy,
            strength and position averaged over its occurrences. The latter depends on how many samples
            there are: more occurrences average more noise away. Its interval is for that many samples.
        interval: one of `corrpo.statistics.interval.INTERVALS`.
        position: number [n], index of the token in its response, for "partial_spearman".
        token_id: int [n], for `by="token"`.
        confidence: of the interval, which resamples whole samples (`corrpo.statistics.interval`).
        resamples: how many; 0 for no interval.
        permutations: of strength within samples, for p, which is at least 2 / (permutations + 1)
            (`corrpo.statistics.permutation`); 0 for no p.
        seed: of both; the same seed gives the same numbers.

    Returns:
        A `Correlation`. Where a part does not exist, it is None and `reason` says why.

    Raises:
        BadInputError: lengths that differ, a missing column, NaN or infinite values (with index and sample),
            an unknown method or unit, a confidence outside (0, 1), a negative number of resamples.

    >>> entropy, strength = [0.1, 2.0, 1.0, 0.3, 2.2, 0.9], [9.0, 2.0, 4.0, 7.0, 3.0, 5.0]
    >>> print(correlate(entropy, strength, ["a", "a", "a", "b", "b", "b"], resamples=0))
    -0.94 permutation p=0.07 (6 tokens, 2 samples): no resamples were asked for
    >>> correlate([0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [0, 0, 0]).reason
    'entropy is constant over the 3 tokens'
    """
    check_settings(confidence, resamples=resamples, permutations=permutations)
    columns = check_series(TokenSeries(entropy, strength, sample, position, token_id), method=method, by=by)
    one_of("interval", interval, tuple(INTERVALS))
    return _estimate(columns, interval, confidence, resamples, permutations, seed)


def _estimate(
    columns: Columns, interval: str, confidence: float, resamples: int, permutations: int, seed: int
) -> Correlation:
    """`correlate` of checked columns."""
    value, n_tokens, reason = value_of(columns)
    if value is None:
        return Correlation(None, None, None, None, n_tokens, columns.n_samples, reason)
    interval_rng, permutation_rng = np.random.default_rng(seed).spawn(2)
    made = correlation_interval(
        value,
        weighted_statistic(columns),
        columns.n_samples,
        method=interval,
        confidence=confidence,
        resamples=resamples,
        rng=interval_rng,
    )
    fixed = cannot_permute(columns) if permutations else "no permutations were asked for"
    p = None if fixed else float(permutation_p(columns, value, permutations, permutation_rng))
    reasons = "; ".join(text for text in (made.reason, fixed) if text)
    return Correlation(value, made.low, made.high, p, n_tokens, columns.n_samples, reasons or None)


def value_of(columns: Columns) -> tuple[float | None, int, str | None]:
    """The coefficient of checked columns or None, the number of tokens it is over, and why it is None."""
    values, unit = columns.values, "tokens"
    if columns.token is not None:
        averages = TokenAverages(columns)(np.ones((1, columns.n_samples)))
        values = {name: rows[0] for name, rows in zip(columns.values, averages, strict=True)}
        unit = "unique tokens"
    n_tokens = len(values["entropy"])
    reason = undefined_reason(values, unit=unit)
    if reason:
        return None, n_tokens, reason
    value = weighted_statistic(columns)(np.ones((1, columns.n_samples)))[0]
    return (None, n_tokens, DETERMINED) if np.isnan(value) else (float(value), n_tokens, None)
