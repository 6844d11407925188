"""The difference of two models: paired by sample, honest about what is missing."""

import json

import numpy as np
import pytest

from corrpo.errors import BadInputError
from corrpo.statistics import Difference, TokenSeries, compare, correlate
from simulated_tokens import Population, simulate


def two_models(r_a, r_b, *, samples=20, seed=0, icc=0.3):
    """Two models on the same samples: the sample effects are shared, the tokens are not."""
    a = simulate(Population(r_a, r_between=0.3, icc=icc), samples, 2 * seed, shared=seed)
    b = simulate(Population(r_b, r_between=0.3, icc=icc), samples, 2 * seed + 1, shared=seed)
    return a, b


def without(series, sample):
    keep = series.sample != sample
    columns = (series.entropy, series.strength, series.sample, series.position, series.token_id)
    return TokenSeries(*(column[keep] for column in columns))


@pytest.mark.parametrize("by", ["position", "token"])
@pytest.mark.parametrize("method", ["spearman", "pearson", "partial_spearman"])
def test_the_value_is_the_difference_of_the_two(method, by):
    a, b = two_models(-0.2, -0.7)
    of_a, of_b = (
        correlate(
            s.entropy, s.strength, s.sample, method=method, by=by, position=s.position, token_id=s.token_id
        ).value
        for s in (a, b)
    )
    result = compare(a, b, method=method, by=by, resamples=200)
    assert result.value == pytest.approx(of_b - of_a)
    assert result.low < result.value < result.high < 0
    assert result.p < 0.05
    back = compare(b, a, method=method, by=by, resamples=200)
    assert (back.value, back.low, back.high) == pytest.approx((-result.value, -result.high, -result.low))
    assert back.p == pytest.approx(result.p)


def test_a_model_against_itself_is_exactly_zero():
    a, _ = two_models(-0.4, -0.4)
    assert compare(a, a) == Difference(0.0, 0.0, 0.0, 1.0, 20)


def test_the_interval_holds_a_known_difference():
    """Binomial: 200 simulations at 95 % give 190 on average, and 3 standard deviations are 9."""
    truth = Population(-0.7, r_between=0.3).spearman - Population(-0.2, r_between=0.3).spearman
    hits = excluded = 0
    for seed in range(200):
        result = compare(*two_models(-0.2, -0.7, samples=10, seed=seed), resamples=80)
        hits += result.low <= truth <= result.high
        excluded += (result.p < 0.05) == (not result.low <= 0 <= result.high)
    assert 181 <= hits <= 199
    assert excluded == 200


def test_pairing_makes_the_interval_narrower():
    """The same sample effects in both models cancel in the difference, unless samples are mismatched."""
    a, b = two_models(-0.4, -0.4, samples=40, icc=0.8)
    paired = compare(a, b)
    turned = TokenSeries(b.entropy, b.strength, (b.sample + 17) % 40)
    unpaired = compare(a, turned)
    assert unpaired.value == pytest.approx(paired.value)
    assert paired.high - paired.low < 0.7 * (unpaired.high - unpaired.low)


def test_samples_of_one_model_only_are_an_error_or_dropped_with_the_count():
    a, b = two_models(-0.2, -0.7)
    with pytest.raises(BadInputError, match=r'only in model a: 3\. .*on_missing="drop"'):
        compare(a, without(b, 3))
    result = compare(without(a, 5), without(b, 3), on_missing="drop", seed=1)
    assert (result.n_samples, result.n_dropped) == (18, 2)
    both = [without(without(series, 3), 5) for series in (a, b)]
    assert result.value == compare(*both, seed=1).value
    assert result.low == compare(*both, seed=1).low


def test_no_sample_in_common_and_ids_of_two_types_are_named():
    a, b = two_models(-0.2, -0.7)
    with pytest.raises(BadInputError, match="no sample in common: 0, 1, 2, 3, 4 and 15 more against 100"):
        compare(a, TokenSeries(b.entropy, b.strength, b.sample + 100), on_missing="drop")
    with pytest.raises(BadInputError, match="one type: model a has int64, model b <U"):
        compare(a, TokenSeries(b.entropy, b.strength, b.sample.astype(str)))


def test_errors_and_reasons_say_which_model():
    a, b = two_models(-0.2, -0.7)
    flat = TokenSeries(np.zeros_like(b.entropy), b.strength, b.sample)
    result = compare(a, flat)
    assert (result.value, result.low, result.p) == (None, None, None)
    assert result.reason == f"model b: entropy is constant over the {len(b.entropy):,} tokens"
    with pytest.raises(BadInputError, match=r"model b: strength\[0\] is nan, in sample"):
        compare(a, TokenSeries(b.entropy, np.full_like(b.strength, np.nan), b.sample))
    with pytest.raises(BadInputError, match="on_missing must be one of error, drop, not 'ignore'"):
        compare(a, b, on_missing="ignore")


def test_a_report_travels():
    result = compare(*two_models(-0.2, -0.7), resamples=100)
    assert Difference.from_dict(json.loads(json.dumps(result.as_dict(), allow_nan=False))) == result
    assert str(result).endswith("(20 samples)")


def test_one_common_sample_has_no_interval():
    a, b = (simulate(Population(r), 1, 0) for r in (-0.2, -0.7))
    result = compare(a, b)
    assert result.value is not None
    assert (result.low, result.high, result.p) == (None, None, None)
    assert result.reason == "one sample: an interval needs at least two"
