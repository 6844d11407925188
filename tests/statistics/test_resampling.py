"""Intervals hold the truth as often as they say, and permutation p is uniform where nothing is related."""

import numpy as np
import pytest
from scipy import stats

from corrpo.statistics import correlate
from corrpo.statistics.coefficients import partial_spearman, pearson, spearman
from corrpo.statistics.interval import half_samples
from corrpo.statistics.permutation import permutation_p
from corrpo.statistics.token_series import check_series
from corrpo.statistics.weighted_coefficients import weighted_statistic
from simulated_tokens import Population, gaussian_pearson, simulate


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("by", ["position", "token"])
@pytest.mark.parametrize("method", ["spearman", "pearson", "partial_spearman"])
def test_multiplicities_equal_the_data_repeated(method, by, ties):
    series = simulate(Population(r_within=-0.6, trend=0.5, vocabulary=20), samples=6, seed=0)
    entropy = np.round(series.entropy) if ties else series.entropy
    series = type(series)(entropy, series.strength, series.sample, series.position, series.token_id)
    weights = np.array([[0, 2, 1, 0, 3, 0], [1, 0, 0, 0, 1, 0], [1, 1, 1, 1, 1, 1]])
    result = weighted_statistic(check_series(series, method=method, by=by))(weights.astype(float))
    for value, row in zip(result, weights, strict=True):
        times = row[series.sample]
        columns = [np.repeat(c, times) for c in (entropy, series.strength, series.position)]
        if by == "token":
            ids = np.repeat(series.token_id, times)
            columns = [np.array([c[ids == i].mean().round(12) for i in np.unique(ids)]) for c in columns]
        kernel = {"spearman": spearman, "pearson": pearson, "partial_spearman": partial_spearman}[method]
        assert value == pytest.approx(kernel(*columns[: 3 if method == "partial_spearman" else 2]), abs=1e-9)


def test_a_half_is_a_set_of_samples():
    halves = half_samples(7, 200, np.random.default_rng(0))
    assert set(np.unique(halves)) == {0.0, 1.0}
    assert (halves.sum(axis=1) == 4).all()
    assert halves.mean(axis=0) == pytest.approx(np.full(7, 4 / 7), abs=0.15)


@pytest.mark.parametrize(
    ("method", "samples", "rho"), [("spearman", 10, -0.6), ("spearman", 20, 0.0), ("pearson", 10, 0.4)]
)
def test_the_95_percent_interval_holds_a_known_truth(method, samples, rho):
    """Binomial: 250 simulations at 95 % give 237 on average, and 3 standard deviations are 10."""
    population = Population(r_within=gaussian_pearson(rho), mean_length=40)
    truth = population.spearman if method == "spearman" else population.pearson
    rng, hits = np.random.default_rng(7), 0
    for _ in range(250):
        s = simulate(population, samples, rng)
        result = correlate(s.entropy, s.strength, s.sample, method=method, resamples=80, permutations=0)
        hits += result.low <= truth <= result.high
    assert 227 <= hits <= 247


def test_tokens_of_a_sample_are_not_taken_as_independent():
    """With strong sample effects an interval that counted tokens would be several times too narrow."""
    s = simulate(Population(r_within=0.0, icc=0.7), samples=20, seed=0)
    result = correlate(s.entropy, s.strength, s.sample, permutations=0)
    naive = 2 * 1.96 / np.sqrt(result.n_tokens)
    assert result.high - result.low > 3 * naive


def test_confidence_widens_the_interval():
    s = simulate(Population(r_within=-0.5), samples=20, seed=0)
    widths = []
    for confidence in (0.5, 0.95, 0.99):
        result = correlate(s.entropy, s.strength, s.sample, confidence=confidence, permutations=0)
        widths.append(result.high - result.low)
    assert widths == sorted(widths)


def p_values(population, method, by, simulations=200, samples=8):
    rng = np.random.default_rng(5)
    for _ in range(simulations):
        columns = check_series(simulate(population, samples, rng), method=method, by=by)
        value = weighted_statistic(columns)(np.ones((1, samples)))[0]
        yield permutation_p(columns, value, 99, rng)


@pytest.mark.parametrize(
    ("method", "by"), [("spearman", "position"), ("pearson", "position"), ("spearman", "token")]
)
def test_p_is_uniform_though_samples_differ(method, by):
    """Simpson: between samples r = 0.9, inside none."""
    null = Population(
        r_within=0.0, r_between=0.9, icc=0.5, autocorrelation=0.0, mean_length=20, vocabulary=30
    )
    result = np.array(list(p_values(null, method, by)))
    assert stats.kstest(result, "uniform").pvalue > 0.01
    assert (result <= 0.05).mean() < 0.1


def test_partial_p_is_uniform_though_both_follow_position():
    null = Population(r_within=0.0, r_between=0.0, trend=2.0, autocorrelation=0.0, mean_length=30)
    assert stats.kstest(list(p_values(null, "partial_spearman", "position")), "uniform").pvalue > 0.01


def test_an_association_hidden_by_differences_between_samples_is_found():
    """Pooled, the two cancel: rho is near 0. Inside samples it is -0.8, and p is about that."""
    hidden = Population(r_within=-0.8, r_between=0.8, icc=0.5)
    s = simulate(hidden, samples=64, seed=0)
    result = correlate(s.entropy, s.strength, s.sample, permutations=199, resamples=0)
    assert abs(result.value) < 0.2
    assert result.p == 2 / 200


@pytest.mark.parametrize("method", ["spearman", "pearson"])
def test_p_of_one_sample_is_scipys_exact_one(method):
    """Six tokens have 720 orders: scipy counts them all, and a random 20,000 must agree."""
    x, y = [1.0, 4.0, 2.0, 8.0, 5.0, 7.0], [2.0, 3.0, 1.0, 9.0, 4.0, 2.5]
    kernel = {"spearman": spearman, "pearson": pearson}[method]
    exact = stats.permutation_test(
        (y,), lambda other: kernel(x, other), permutation_type="pairings", n_resamples=np.inf
    )
    result = correlate(x, y, [0] * 6, method=method, permutations=20_000)
    assert result.p == pytest.approx(exact.pvalue, abs=0.015)


def test_p_of_three_tokens_in_order():
    """One order of six is as high and one as low as can be: p tends to 1/3."""
    result = correlate([1, 2, 3], [10, 20, 30], [0, 0, 0], permutations=5000)
    assert result.p == pytest.approx(1 / 3, abs=0.03)
