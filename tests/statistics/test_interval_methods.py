"""Interval methods: the table of them, and another one added to it."""

import math

import numpy as np
import pytest
from scipy import stats

from corrpo.errors import BadInputError
from corrpo.statistics import compare, correlate
from corrpo.statistics.interval import INTERVALS, Interval
from simulated_tokens import Population, simulate

POPULATION = Population(r_within=-0.6)


def delete_one(value, statistic, n_samples, confidence, resamples, rng):
    """The delete-one jackknife: an example of a method, which draws nothing."""
    left_out = statistic(1 - np.eye(n_samples))
    error = math.sqrt((n_samples - 1) * np.mean((left_out - left_out.mean()) ** 2))
    half = stats.t.ppf((1 + confidence) / 2, n_samples - 1) * error
    return Interval(value - half, value + half, float(2 * stats.t.sf(abs(value) / error, n_samples - 1)))


def test_another_interval_is_a_function_and_a_line_of_the_table(monkeypatch):
    series = simulate(POPULATION, samples=20, seed=0)
    columns = (series.entropy, series.strength, series.sample)
    standard = correlate(*columns, permutations=0)
    assert correlate(*columns, permutations=0, interval="delete_half") == standard
    monkeypatch.setitem(INTERVALS, "delete_one", delete_one)
    other = correlate(*columns, permutations=0, interval="delete_one")
    assert other.value == standard.value
    assert (other.low, other.high) == pytest.approx((standard.low, standard.high), abs=0.05)
    assert (other.low, other.high) != (standard.low, standard.high)
    second = simulate(POPULATION, samples=20, seed=1)
    difference = compare(series, second, interval="delete_one")
    assert difference.low < difference.value < difference.high
    assert 0 < difference.p <= 1


def test_an_unknown_interval_is_refused():
    with pytest.raises(BadInputError, match="interval must be one of delete_half, not 'bootstrap'"):
        correlate([0.1, 2.0, 1.0], [9.0, 2.0, 4.0], [0, 1, 2], interval="bootstrap")
