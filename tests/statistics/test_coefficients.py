"""The weighted coefficients against scipy, against themselves, and where they do not exist."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from corrpo.errors import BadInputError
from corrpo.statistics import UndefinedCorrelationError, partial_spearman, pearson, spearman
from corrpo.statistics.coefficients import midranks

# Few distinct values, so that ties are the rule; any three columns of one length, and multiplicities.
NUMBERS = st.integers(-4, 4).map(float)


@st.composite
def columns(draw):
    n = draw(st.integers(3, 30))
    x, y, z = (np.array(draw(st.lists(NUMBERS, min_size=n, max_size=n))) for _ in range(3))
    weights = np.array(draw(st.lists(st.integers(0, 4), min_size=n, max_size=n)))
    return x, y, z, weights


def or_none(coefficient, *args, **kwargs):
    try:
        return coefficient(*args, **kwargs)
    except UndefinedCorrelationError:
        return None


@settings(max_examples=150, deadline=None)
@given(columns())
def test_agrees_with_scipy_under_ties(data):
    x, y, _, _ = data
    assume(np.ptp(x) > 0 and np.ptp(y) > 0)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)


@settings(max_examples=150, deadline=None)
@given(columns())
def test_integer_weights_are_repetitions(data):
    x, y, z, weights = data
    assume((weights > 0).sum() >= 3)
    again = [np.repeat(column, weights) for column in (x, y, z)]
    for coefficient, n in ((pearson, 2), (spearman, 2), (partial_spearman, 3)):
        weighted = or_none(coefficient, *(x, y, z)[:n], weights=weights)
        assert weighted == pytest.approx(or_none(coefficient, *again[:n]), abs=1e-9)


@settings(max_examples=150, deadline=None)
@given(columns())
def test_bounds_and_symmetries(data):
    x, y, z, weights = data
    for coefficient, rest in ((pearson, ()), (spearman, ()), (partial_spearman, (z,))):
        value = or_none(coefficient, x, y, *rest, weights=weights)
        if value is not None:
            assert -1 <= value <= 1
            assert coefficient(y, x, *rest, weights=weights) == pytest.approx(value, abs=1e-12)
            assert coefficient(x, -y, *rest, weights=weights) == pytest.approx(-value, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(columns())
def test_spearman_sees_only_the_order(data):
    x, y, z, weights = data
    for coefficient, rest in ((spearman, ()), (partial_spearman, (z,))):
        before = or_none(coefficient, x, y, *rest, weights=weights)
        after = or_none(coefficient, np.exp(x), y**3, *rest, weights=weights)
        assert before == pytest.approx(after, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(columns())
def test_partial_is_the_correlation_of_rank_residuals(data):
    x, y, z, _ = data
    value = or_none(partial_spearman, x, y, z)
    assume(value is not None)
    design = np.stack([np.ones_like(z), stats.rankdata(z)], axis=1)
    residuals = []
    for column in (x, y):
        ranks = stats.rankdata(column)
        residuals.append(ranks - design @ np.linalg.lstsq(design, ranks, rcond=None)[0])
    assert value == pytest.approx(stats.pearsonr(*residuals).statistic, abs=1e-7)


def test_midranks_are_scipys_less_a_half():
    values = np.array([3.0, 1.0, 3.0, 2.0, 3.0, 1.0])
    np.testing.assert_array_equal(midranks(values), stats.rankdata(values) - 0.5)


def test_perfect_order_is_exactly_one():
    x = np.arange(50.0)
    assert spearman(x, x**3) == 1.0
    assert spearman(x, -x) == -1.0


@pytest.mark.parametrize("coefficient", [pearson, spearman])
def test_no_correlation_is_an_error_with_the_reason_and_never_zero(coefficient):
    with pytest.raises(UndefinedCorrelationError, match="at least 3 tokens, there are 2"):
        coefficient([1, 2], [3, 4])
    with pytest.raises(UndefinedCorrelationError, match="y is constant over the 4 tokens"):
        coefficient([1, 2, 3, 4], [0.1, 0.1, 0.1, 0.1])
    with pytest.raises(UndefinedCorrelationError, match="x is constant over the 3 tokens"):
        coefficient([1, 1, 1, 9], [1, 2, 3, 4], weights=[1, 1, 1, 0])


def test_partial_of_what_z_determines_is_undefined():
    with pytest.raises(UndefinedCorrelationError, match="z determine"):
        partial_spearman([1, 2, 3, 4], [2, 1, 4, 3], [10, 20, 30, 40])


@pytest.mark.parametrize(
    ("x", "y", "weights", "message"),
    [
        ([1, 2, 3], [1, 2], None, "x 3, y 2"),
        ([1, np.nan, 3], [1, 2, 3], None, r"x\[1\] is nan"),
        ([1, 2, 3], [1, 2, 3], [1, -1, 1], r"weights\[1\] is -1"),
        ([1, 2, 3], [1, 2, 3], [1, 1], "weights 2"),
        ([[1, 2, 3]], [1, 2, 3], None, "one dimension"),
        (["a", "b", "c"], [1, 2, 3], None, "numbers"),
    ],
)
def test_bad_input_is_named(x, y, weights, message):
    with pytest.raises(BadInputError, match=message):
        spearman(x, y, weights)
