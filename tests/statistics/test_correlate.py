"""What `correlate` reports: against scipy, by position and by token, and where a part does not exist."""

import json

import numpy as np
import pytest
from scipy import stats

from corrpo.errors import BadInputError
from corrpo.statistics import Correlation, correlate, partial_spearman
from simulated_tokens import Population, gaussian_spearman, simulate

QUICK = {"resamples": 50, "permutations": 50}


@pytest.fixture
def series():
    return simulate(Population(r_within=-0.6, token_share=0.2, vocabulary=30, trend=0.5), samples=12, seed=3)


def of(series, **options):
    columns = {"position": series.position, "token_id": series.token_id}
    return correlate(series.entropy, series.strength, series.sample, **columns, **{**QUICK, **options})


def by_token(series):
    ids = np.unique(series.token_id)
    return [
        np.array([column[series.token_id == i].mean() for i in ids])
        for column in (series.entropy, series.strength, series.position)
    ]


def test_by_position_is_scipys(series):
    assert of(series).value == pytest.approx(stats.spearmanr(series.entropy, series.strength).statistic)
    assert of(series, method="pearson").value == pytest.approx(
        stats.pearsonr(series.entropy, series.strength).statistic
    )
    assert of(series, method="partial_spearman").value == pytest.approx(
        partial_spearman(series.entropy, series.strength, series.position)
    )


def test_by_token_is_scipys_of_the_averages(series):
    entropy, strength, position = by_token(series)
    result = of(series, by="token")
    assert result.value == pytest.approx(stats.spearmanr(entropy, strength).statistic)
    assert result.n_tokens == len(entropy)
    assert of(series, by="token", method="pearson").value == pytest.approx(
        stats.pearsonr(entropy, strength).statistic
    )
    assert of(series, by="token", method="partial_spearman").value == pytest.approx(
        partial_spearman(entropy, strength, position)
    )


def test_a_report_reads_and_travels(series):
    result = of(series, permutations=999)
    assert result.low < result.value < result.high < 0
    assert result.p == 0.002
    assert (result.n_tokens, result.n_samples, result.reason) == (len(series.entropy), 12, None)
    assert Correlation.from_dict(json.loads(json.dumps(result.as_dict(), allow_nan=False))) == result
    assert str(result).endswith(f" permutation p=0.002 ({len(series.entropy):,} tokens, 12 samples)")
    with pytest.raises(BadInputError, match=r"missing: \['p'\], unknown: \['q'\]"):
        Correlation.from_dict({**{k: v for k, v in result.as_dict().items() if k != "p"}, "q": 1})


@pytest.mark.parametrize("by", ["position", "token"])
@pytest.mark.parametrize("method", ["spearman", "pearson", "partial_spearman"])
def test_the_seed_and_nothing_else_decides(series, method, by):
    result = of(series, method=method, by=by)
    assert result == of(series, method=method, by=by)
    another = of(series, method=method, by=by, seed=1)
    assert (result.low, result.high) != (another.low, another.high)
    assert result.low < result.value < result.high


def test_order_of_tokens_and_type_of_ids_do_not_matter(series):
    shuffle = np.random.default_rng(0).permutation(len(series.entropy))
    names = np.array([f"sample-{i:03d}" for i in series.sample])
    plain = of(series)
    other = correlate(series.entropy[shuffle], series.strength[shuffle], names[shuffle].tolist(), **QUICK)
    assert other.value == pytest.approx(plain.value)
    assert (other.low, other.high) == pytest.approx((plain.low, plain.high))


@pytest.mark.parametrize("by", ["position", "token"])
def test_constant_entropy_has_no_correlation(series, by):
    result = correlate(
        np.full(len(series.entropy), 0.1), series.strength, series.sample, by=by, token_id=series.token_id
    )
    unit = "tokens" if by == "position" else "unique tokens"
    assert result.as_dict() == {
        "value": None,
        "low": None,
        "high": None,
        "p": None,
        "n_tokens": result.n_tokens,
        "n_samples": 12,
        "reason": f"entropy is constant over the {result.n_tokens} {unit}",
    }
    assert str(result).startswith("undefined (")


def test_one_sample_has_a_value_and_p_but_no_interval():
    result = correlate([1.0, 2.0, 3.0, 4.0], [2.0, 1.0, 4.0, 3.0], ["a"] * 4)
    assert result.value == pytest.approx(0.6)
    assert (result.low, result.high) == (None, None)
    assert result.p is not None
    assert result.reason == "one sample: an interval needs at least two"


def test_one_token_per_sample_has_an_interval_but_no_p():
    rng = np.random.default_rng(0)
    result = correlate(rng.normal(size=40), rng.normal(size=40), np.arange(40), **QUICK)
    assert result.low is not None
    assert result.p is None
    assert result.reason == "every sample has one token: nothing to permute within samples"


@pytest.mark.parametrize(
    ("entropy", "strength", "reason"),
    [
        ([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], "the correlation is exactly +1"),
        ([1, 2, 4, 1, 2, 4], [3, 1, 2, 3, 1, 2], "the samples repeat one another"),
        ([1, 1, 1, 2, 3, 4], [1, 2, 3, 3, 1, 2], "resamples the correlation is undefined"),
    ],
)
def test_an_interval_that_resamples_cannot_give_is_null(entropy, strength, reason):
    result = correlate(entropy, strength, [0, 0, 0, 1, 1, 1])
    assert result.value is not None
    assert result.low is None
    assert reason in result.reason


def test_position_that_orders_entropy_leaves_nothing():
    result = correlate(
        [1, 2, 3, 4], [2, 1, 4, 3], [0, 0, 1, 1], method="partial_spearman", position=[0, 1, 2, 3]
    )
    assert result.value is None
    assert result.reason == "position orders entropy or strength completely: nothing is left to correlate"


@pytest.mark.parametrize("method", ["spearman", "pearson"])
@pytest.mark.parametrize("by", ["position", "token"])
def test_rounding_never_leaves_the_bounds(method, by):
    for n in range(3, 60):
        x = np.sqrt(np.arange(n) + 0.1)
        result = correlate(x, 3 * x, np.arange(n) % 2, method=method, by=by, token_id=np.arange(n), **QUICK)
        assert result.value <= 1
        assert result.value == pytest.approx(1)
        assert "exactly +1" in result.reason


def test_two_tokens_are_too_few():
    assert correlate([1, 2], [2, 1], [0, 0]).reason == "a correlation needs at least 3 tokens, there are 2"


def test_averages_of_equal_numbers_stay_tied():
    # Four token ids, each with the same entropy 0.1 at every occurrence but one id: only one rank differs.
    token = np.array([0, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3])
    entropy = np.where(token == 3, 0.7, 0.1)
    strength = token.astype(float)
    result = correlate(entropy, strength, token % 2, by="token", token_id=token, **QUICK)
    assert result.value == pytest.approx(stats.spearmanr([0, 0, 0, 1], [0, 1, 2, 3]).statistic)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strength": [1.0, 2.0]}, "strength has 2 tokens, sample has 3"),
        ({"entropy": [1.0, np.nan, 2.0]}, r"entropy\[1\] is nan, in sample 'b'"),
        ({"strength": [1.0, 2.0, -np.inf]}, r"strength\[2\] is -inf, in sample 'b'"),
        ({"entropy": [[1.0], [2.0], [3.0]]}, r"entropy must have one dimension, not the shape \(3, 1\)"),
        ({"entropy": ["x", "y", "z"]}, "entropy must be an array of numbers"),
        ({"sample": np.array(["a", None, "b"], dtype=object)}, r"sample\[1\] is None"),
        ({"sample": np.array([0.5, 1.0, 2.0])}, "sample must be ids of type int or str, not float64"),
        ({"sample": [0.5, 1.0, 2.0]}, r"sample\[0\] is 0.5: ids are all int or all str"),
        ({"sample": [1, "1", 2]}, r"sample\[1\] is '1': ids are all int or all str"),
        ({"sample": ["1", 1, "2"]}, r"sample\[1\] is 1: ids are all int or all str"),
        ({"sample": [1, True, 2]}, r"sample\[1\] is True: ids are all int or all str"),
        ({"entropy": [], "strength": [], "sample": []}, "there are no tokens"),
        ({"method": "kendall"}, "one of spearman, pearson, partial_spearman, not 'kendall'"),
        ({"by": "word"}, "one of position, token, not 'word'"),
        ({"method": "partial_spearman"}, "partial_spearman needs position"),
        ({"by": "token"}, 'by="token" needs token_id'),
        ({"by": "token", "token_id": [1, 2]}, "token_id has 2 tokens"),
        ({"confidence": 95.0}, "between 0 and 1, such as 0.95, not 95"),
        ({"resamples": -1}, "resamples must be a whole number"),
        ({"permutations": 1}, "permutations must be a whole number from 2, or 0 for none, not 1"),
    ],
)
def test_bad_input_is_named(change, message):
    good = {"entropy": [1.0, 2.0, 3.0], "strength": [3.0, 1.0, 2.0], "sample": ["a", "b", "b"]}
    with pytest.raises(BadInputError, match=message):
        correlate(**{**good, **change})


def test_the_simulated_population_has_the_correlation_it_states():
    population = Population(r_within=-0.6, r_between=0.5)
    large = simulate(population, samples=5000, seed=0)
    result = correlate(large.entropy, large.strength, large.sample, resamples=0, permutations=0)
    assert population.spearman == gaussian_spearman(0.3 * 0.5 - 0.7 * 0.6)
    assert result.value == pytest.approx(population.spearman, abs=0.02)
