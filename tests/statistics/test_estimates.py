"""Accuracies over problems: pass@k against counting every subset, and intervals that hold the truth."""

import math
from importlib.util import module_from_spec, spec_from_file_location
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.special import comb

from corrpo.errors import BadInputError
from corrpo.statistics.accuracy_estimate import (
    Estimate,
    estimate_average,
    estimate_mean,
    estimate_pass_at_k,
    pass_at_k,
)


def share_of_subsets_with_a_right_one(n, c, k):
    """By definition: draw k of n generations, of which the first c are right, in every possible way."""
    subsets = list(combinations(range(n), k))
    return sum(any(i < c for i in subset) for subset in subsets) / len(subsets)


@pytest.mark.parametrize("n", range(1, 9))
def test_pass_at_k_counts_every_subset(n):
    for c in range(n + 1):
        for k in range(1, n + 1):
            assert pass_at_k(n, c, k) == pytest.approx(share_of_subsets_with_a_right_one(n, c, k), abs=1e-12)


@given(st.integers(1, 3000), st.data())
def test_pass_at_k_of_many_generations(n, data):
    c = data.draw(st.integers(0, n))
    k = data.draw(st.integers(1, n))
    exact = 1 - comb(n - c, k, exact=True) / comb(n, k, exact=True)
    assert pass_at_k(n, c, k) == pytest.approx(exact, abs=1e-9)


@given(st.integers(1, 60), st.data())
def test_pass_at_k_grows_with_k_and_with_what_is_right(n, data):
    c = data.draw(st.integers(0, n - 1))
    of_k = [pass_at_k(n, c, k) for k in range(1, n + 1)]
    assert of_k[0] == pytest.approx(c / n)
    assert all(one <= other + 1e-12 for one, other in pairwise(of_k))
    assert all(pass_at_k(n, c, k) <= pass_at_k(n, c + 1, k) + 1e-12 for k in range(1, n + 1))


def test_pass_at_k_is_unbiased():
    """The mean over draws of n generations is the chance that one of k is right."""
    n, k, chance = 8, 3, 0.3
    of_count = [pass_at_k(n, c, k) for c in range(n + 1)]
    weights = [comb(n, c) * chance**c * (1 - chance) ** (n - c) for c in range(n + 1)]
    assert np.dot(of_count, weights) == pytest.approx(1 - (1 - chance) ** k)


def test_fewer_generations_than_k_have_no_estimate():
    assert math.isnan(pass_at_k(4, 2, 5))
    result = estimate_pass_at_k([[True, False], [True], [False, False]], 2)
    assert (result.value, result.low, result.high) == (None, None, None)
    assert (result.n_problems, result.n_samples) == (3, 5)
    assert result.reason == "1 of 3 problems have fewer than 2 generations"


@pytest.mark.parametrize(("n", "c", "k"), [(3, 4, 1), (3, -1, 1), (3, 1, 0)])
def test_impossible_counts_are_refused(n, c, k):
    with pytest.raises(BadInputError, match=rf"n={n}, c={c}, k={k}"):
        pass_at_k(n, c, k)


def test_problems_count_alike_however_many_generations_they_have():
    result = estimate_average([[True], [False, False, False]])
    assert (result.value, result.n_problems, result.n_samples) == (0.5, 2, 4)


def test_the_average_is_pass_at_1():
    correct = [[True, False, True, True], [False] * 4, [True] * 4]
    assert estimate_average(correct) == estimate_pass_at_k(correct, 1)
    assert estimate_average(correct).value == pytest.approx((0.75 + 0 + 1) / 3)


def test_one_generation_each_gives_wilsons_interval_with_t():
    """Binary values are a proportion: the effective sample size is the number of problems, less one."""
    result = estimate_mean([1.0] * 12 + [0.0] * 28, 40)
    quantile, size = 2.0226909, 39  # t with 39 degrees of freedom
    centre = (0.3 + quantile**2 / (2 * size)) / (1 + quantile**2 / size)
    root = math.sqrt(0.3 * 0.7 / size + quantile**2 / (4 * size**2))
    half = quantile / (1 + quantile**2 / size) * root
    assert (result.low, result.high) == pytest.approx((centre - half, centre + half))


def test_generations_for_one_problem_are_not_taken_as_independent():
    """Sixteen copies of each generation add problems to nothing: the interval stays as it was."""
    once = [[i < 12] for i in range(40)]
    many = [values * 16 for values in once]
    assert estimate_average(many).n_samples == 640
    assert estimate_average(many).low == pytest.approx(estimate_average(once).low)


def test_problems_that_are_nearly_alike_are_bounded_by_their_generations():
    """One problem in thirty differs a little: the interval is that of 480 independent generations at best."""
    result = estimate_mean([1.0] * 29 + [0.98], 480)
    assert result.value - result.low > 0.005


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_where_all_problems_are_solved_or_none_the_interval_has_a_width(value):
    result = estimate_mean([value] * 30, 480)
    assert result.value == value
    assert result.high - result.low == pytest.approx(0.1224, abs=1e-3)
    assert value in (result.low, result.high)


def test_one_problem_has_no_interval_and_none_has_no_value():
    one = estimate_mean([0.25], 4)
    assert (one.value, one.low) == (0.25, None)
    assert "at least two" in one.reason
    none = estimate_pass_at_k([], 1)
    assert (none.value, none.n_problems, none.reason) == (None, 0, "there are no problems")


@example(values=[0.0, 0.0, 0.0, 0.0, 2e-39], confidence=0.8)
@example(values=[1.0, 1.0, 1.0, 1.0, 1 - 1e-16], confidence=0.8)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=50), st.sampled_from([0.5, 0.8, 0.95]))
def test_intervals_hold_the_value_and_widen_with_confidence(values, confidence):
    result = estimate_mean(values, 4 * len(values), confidence=confidence)
    wider = estimate_mean(values, 4 * len(values), confidence=0.99)
    assert 0 <= wider.low <= result.low <= result.value <= result.high <= wider.high <= 1


@pytest.mark.parametrize(
    ("values", "n_samples", "confidence", "message"),
    [
        ([0.5, 1.5], 2, 0.95, r"expected numbers in \[0, 1\]"),
        ([0.5, math.nan], 2, 0.95, r"expected numbers in \[0, 1\]"),
        ([0.5, 0.5], 2, 1.0, "confidence=1.0"),
        ([0.5, 0.5], 1, 0.95, "n_samples=1 for 2 problems"),
    ],
)
def test_bad_input_is_named(values, n_samples, confidence, message):
    with pytest.raises(BadInputError, match=message):
        estimate_mean(values, n_samples, confidence=confidence)


def test_an_estimate_goes_to_json_and_back():
    result = estimate_mean([0.0, 1.0, 0.5], 12)
    assert Estimate.from_dict(result.as_dict()) == result
    with pytest.raises(BadInputError, match="unknown: \\['p'\\]"):
        Estimate.from_dict(result.as_dict() | {"p": 1.0})


@pytest.mark.parametrize(
    ("chances", "n", "measure"), [("hard", 4, "pass@1"), ("easy", 16, "pass@4"), ("split", 16, "majority")]
)
def test_the_95_percent_interval_holds_the_truth(chances, n, measure):
    """Binomial: 200 simulations at 95 % give 190 on average, and 3 standard deviations are 9."""
    hits = 200 * study().coverage(chances, 30, n, measure, simulations=200, seed=3)
    assert hits >= 181


def study():
    """The module that prints the whole table of coverage."""
    spec = spec_from_file_location("study", Path(__file__).with_name("coverage_study_estimates.py"))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
