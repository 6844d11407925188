"""Contrasts over seeds and problems: against a slow loop, invariances, power, and Holm's correction."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from corrpo.errors import BadInputError
from corrpo.experiments.arm_difference import crossed_contrast
from corrpo.experiments.comparisons import holm
from corrpo.experiments.power import detectable_difference, seeds_needed


def table(seed=0, seeds=5, problems=40, seed_sd=0.05, problem_sd=0.2):
    rng = np.random.default_rng(seed)
    differences = rng.normal(0.03, 0.3, (seeds, problems))
    differences += rng.normal(0, seed_sd, (seeds, 1)) + rng.normal(0, problem_sd, (1, problems))
    return differences


def test_the_error_is_that_of_a_slow_loop():
    d = table()
    rows, columns = d.shape
    mean = sum(d[i, j] for i in range(rows) for j in range(columns)) / d.size
    of_rows = [sum(d[i]) / columns for i in range(rows)]
    of_columns = [sum(d[:, j]) / rows for j in range(columns)]
    ms_rows = columns * sum((row - mean) ** 2 for row in of_rows) / (rows - 1)
    ms_columns = rows * sum((column - mean) ** 2 for column in of_columns) / (columns - 1)
    rest = sum(
        (d[i, j] - of_rows[i] - of_columns[j] + mean) ** 2 for i in range(rows) for j in range(columns)
    )
    ms_rest = rest / (rows - 1) / (columns - 1)
    assert ms_columns > ms_rest
    contrast = crossed_contrast(d)
    assert contrast.value == pytest.approx(mean)
    error = math.sqrt((ms_rows + ms_columns - ms_rest) / d.size)
    assert contrast.errors() == [
        pytest.approx((error, contrast.df)),
        pytest.approx((math.sqrt(ms_rows / d.size), rows - 1)),
    ]
    assert rows - 1 <= contrast.df
    half = max(stats.t.ppf(0.975, contrast.df) * error, stats.t.ppf(0.975, 4) * math.sqrt(ms_rows / d.size))
    assert (contrast.low, contrast.high) == pytest.approx((mean - half, mean + half))
    assert (contrast.p <= 0.05) == (contrast.low > 0 or contrast.high < 0)


@given(st.integers(0, 2**32), st.integers(2, 6), st.integers(2, 9))
def test_intervals_stay_within_reach_and_agree_with_p(seed, seeds, problems):
    d = np.random.default_rng(seed).normal(0.1, 0.3, (seeds, problems))
    contrast = crossed_contrast(d)
    assert contrast.df >= min(seeds, problems) - 1
    assert contrast.high - contrast.low < 100 * d.std()
    assert (contrast.p <= 0.05) == (contrast.low > 0 or contrast.high < 0)
    assert contrast.p_at_least(contrast.high) == pytest.approx(0.025)


def test_without_problems_that_differ_it_is_a_t_test_over_seeds():
    d = np.repeat(np.array([[0.1], [0.2], [0.4]]), 7, axis=1)
    contrast, usual = crossed_contrast(d), stats.ttest_1samp([0.1, 0.2, 0.4], 0)
    assert contrast.df == pytest.approx(2)
    assert contrast.p == pytest.approx(usual.pvalue)


def test_order_and_sign_change_nothing_else():
    d = table()
    rng = np.random.default_rng(1)
    shuffled = crossed_contrast(d[rng.permutation(5)][:, rng.permutation(40)])
    assert shuffled.p == pytest.approx(crossed_contrast(d).p)
    turned = crossed_contrast(-d)
    assert (turned.low, turned.high) == pytest.approx((-crossed_contrast(d).high, -crossed_contrast(d).low))


def test_where_there_is_nothing_to_go_by_it_says_so():
    assert "one seed" in (crossed_contrast(table(seeds=1)).reason or "")
    same = crossed_contrast(np.zeros((5, 20)))
    assert same.p is None
    assert "both gave the same answers" in (same.reason or "")
    assert "is the same for every seed" in (crossed_contrast(np.ones((5, 20))).reason or "")
    assert detectable_difference(same, alpha=0.05) is None
    assert seeds_needed(same, 0.02, alpha=0.05) is None
    with pytest.raises(BadInputError, match="expected finite numbers"):
        crossed_contrast(np.array([[0.0, math.nan]]))


def test_power_is_what_simulations_find():
    spread = 0.05
    contrast = crossed_contrast(np.repeat(np.random.default_rng(0).normal(0, spread, (5, 1)), 40, axis=1))
    size = detectable_difference(contrast, alpha=0.05)
    rng = np.random.default_rng(0)
    ((error, df), _) = contrast.errors()
    assert df == pytest.approx(4)
    draws = size + rng.normal(0, 1, (4000, 5)) * error * math.sqrt(5)
    result = (stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05).mean()
    assert result == pytest.approx(0.8, abs=0.02)
    assert size > contrast.high - contrast.value


def test_seeds_are_the_fewest_that_do():
    contrast = crossed_contrast(table(problem_sd=0.0))
    count = seeds_needed(contrast, 0.08, alpha=0.05)
    assert count is not None
    assert seeds_needed(contrast, 0.08, alpha=0.05, most=count) == count
    assert seeds_needed(contrast, 0.08, alpha=0.05, most=count - 1) is None
    assert seeds_needed(contrast, 0.04, alpha=0.05) > count


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_stepping_down_rejects(p_values):
    rejected, ordered = set(), sorted(range(len(p_values)), key=lambda i: p_values[i])
    for rank, i in enumerate(ordered):
        if (len(p_values) - rank) * p_values[i] > 0.05:
            break
        rejected.add(i)
    assert {i for i, p in enumerate(holm(p_values)) if p <= 0.05} == rejected
