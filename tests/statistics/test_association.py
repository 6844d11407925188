"""Rank correlation over checkpoints: its value is Spearman's, its interval knows of errors of measurement."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from corrpo.errors import BadInputError
from corrpo.statistics import partial_spearman
from corrpo.statistics.checkpoint_association import Association, rank_association

ACCURACY = np.array([0.10, 0.22, 0.20, 0.41, 0.38, 0.52, 0.60, 0.57])
RHO = np.array([0.05, -0.02, -0.08, -0.05, -0.21, -0.30, -0.28, -0.36])
STEPS = np.arange(8.0) * 100


def noisy(values, error, *, halves=300, seed=0):
    """What halves give where one measurement of `values` has this standard error."""
    return values + np.random.default_rng(seed).normal(0, error, (halves, len(values)))


def associated(rho=RHO, accuracy=ACCURACY, *, error=0.02, steps=None, confidence=0.95, halves=300):
    return rank_association(
        rho,
        accuracy,
        noisy(rho, error, halves=halves, seed=1),
        noisy(accuracy, error, halves=halves, seed=2),
        steps=steps,
        confidence=confidence,
    )


def test_the_value_is_spearmans_rho_as_measured():
    result = associated()
    assert result.value == pytest.approx(stats.spearmanr(RHO, ACCURACY).statistic)
    assert result.n_points == 8
    assert result.low < result.value < result.high < 0


def test_with_the_step_held_constant_the_trend_is_gone():
    """Both follow the step; what is left after it is weaker."""
    result = associated(steps=STEPS)
    assert result.value == pytest.approx(partial_spearman(RHO, ACCURACY, STEPS))
    assert abs(result.value) < abs(associated().value)


@given(st.integers(4, 12), st.integers(0, 1000))
def test_only_the_order_of_the_checkpoints_values_counts(points, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, points))
    order = rng.permutation(points)
    halves = noisy(x, 0.1, seed=1), noisy(y, 0.1, seed=2)
    result = rank_association(x, y, *halves)
    shuffled = rank_association(x[order], y[order], *(part[:, order] for part in halves))
    assert shuffled.value == pytest.approx(result.value)
    assert (shuffled.low, shuffled.high) == pytest.approx((result.low, result.high))
    negated = rank_association(-x, y, -halves[0], halves[1])
    assert (negated.value, negated.low, negated.high) == pytest.approx(
        (-result.value, -result.high, -result.low)
    )


@given(st.integers(4, 15), st.floats(0.01, 3), st.booleans(), st.integers(0, 1000))
def test_the_interval_holds_the_value_and_widens_with_confidence(points, error, given_step, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, points))
    steps = np.arange(points, dtype=float) if given_step else None
    result, wider = (
        rank_association(x, y, noisy(x, error), noisy(y, error, seed=1), steps=steps, confidence=confidence)
        for confidence in (0.8, 0.99)
    )
    if result.low is not None:
        assert -1 <= wider.low <= result.low <= result.value <= result.high <= wider.high <= 1
        assert 0 <= result.attenuation <= 1


def test_measurements_without_error_leave_no_doubt():
    result = rank_association(RHO, ACCURACY, np.tile(RHO, (50, 1)), np.tile(ACCURACY, (50, 1)))
    assert result.attenuation == 1
    assert (result.low, result.high) == pytest.approx((result.value, result.value))


def test_the_attenuation_is_the_root_of_both_reliabilities():
    """Half of the variance of rho over checkpoints is error, and none of that of accuracy."""
    error = RHO.std(ddof=1) * np.sqrt(0.5)
    result = rank_association(RHO, ACCURACY, noisy(RHO, error, halves=20_000), np.tile(ACCURACY, (20_000, 1)))
    assert result.attenuation == pytest.approx(np.sqrt(0.5), abs=0.01)


def test_the_interval_of_noisy_measurements_reaches_beyond_what_was_measured():
    exact, vague = associated(error=0.005), associated(error=0.05)
    assert vague.low < exact.low
    assert vague.high - vague.low > 3 * (exact.high - exact.low)


def test_errors_that_account_for_everything_leave_the_strength_open():
    """What was measured is more than chance gives, and so of one sign; how strong it is, nobody can tell."""
    result = associated(error=0.3)
    assert result.attenuation == 0
    assert result.low == -1
    assert -0.5 < result.high < 0


def test_a_shift_of_all_checkpoints_alike_is_no_error():
    """A half of hard problems makes all accuracies smaller: no rank changes."""
    shifts = np.random.default_rng(0).normal(0, 0.3, (300, 1))
    result = rank_association(RHO, ACCURACY, noisy(RHO, 0.01), ACCURACY + shifts)
    assert result.attenuation > 0.95


@pytest.mark.parametrize("sign", [1, -1])
def test_a_perfect_order_has_an_interval_that_ends_there(sign):
    x = np.arange(8.0)
    result = associated(x, sign * x, error=0.7)
    assert result.value == sign
    assert max(result.low * sign, result.high * sign) == 1
    assert 0 < min(result.low * sign, result.high * sign) < 0.95


def test_equal_accuracies_stay_ties_in_halves():
    """0.1 + 0.2 is not 0.3 to a computer; checkpoints of the same accuracy share a rank all the same."""
    accuracy = np.array([0.3, 0.1 + 0.2, 0.5, 0.7])
    x = np.array([1.0, 2.0, 3.0, 4.0])
    result = rank_association(x, accuracy, np.tile(x, (10, 1)), np.tile(accuracy, (10, 1)))
    assert result.value == pytest.approx(stats.spearmanr(x, [0.3, 0.3, 0.5, 0.7]).statistic)


def test_three_checkpoints_are_too_few():
    result = associated(RHO[:3], ACCURACY[:3])
    assert result == Association(None, None, None, 3, "3 checkpoints: expected 4 or more")
    assert str(result) == "undefined (3 checkpoints): 3 checkpoints: expected 4 or more"


def test_a_quantity_that_does_not_change_has_no_rank_correlation():
    result = associated(accuracy=np.full(8, 0.3))
    assert (result.value, result.low) == (None, None)
    assert "the same at all checkpoints" in result.reason


def test_a_quantity_that_only_follows_the_step_leaves_nothing_to_correlate():
    result = associated(rho=-STEPS / 1000, steps=STEPS)
    assert (result.value, result.low) == (None, None)
    assert "the step orders one" in result.reason


def test_halves_without_values_give_no_interval():
    undefined = np.full((20, 8), np.nan)
    result = rank_association(RHO, ACCURACY, undefined, noisy(ACCURACY, 0.01, halves=20))
    assert result.value == pytest.approx(associated().value)
    assert (result.low, result.attenuation) == (None, None)
    assert "in 20 of 20 halves" in result.reason
    assert associated(halves=0).reason == "no halves were asked for"


def test_bad_input_is_named():
    halves = noisy(RHO, 0.01), noisy(ACCURACY, 0.01)
    with pytest.raises(BadInputError, match=r"\(8,\), \(7,\).*do not fit"):
        rank_association(RHO, ACCURACY[:7], *halves)
    with pytest.raises(BadInputError, match="do not fit"):
        rank_association(RHO, ACCURACY, halves[0], halves[1][:10])
    with pytest.raises(BadInputError, match="do not fit"):
        rank_association(RHO, ACCURACY, *halves, steps=STEPS[:4])
    with pytest.raises(BadInputError, match="y has values that are not finite"):
        rank_association(RHO, np.where(ACCURACY > 0.5, np.nan, ACCURACY), *halves)
    with pytest.raises(BadInputError, match="confidence=0"):
        rank_association(RHO, ACCURACY, *halves, confidence=0.0)


def test_an_association_goes_to_json_and_back():
    result = associated()
    assert Association.from_dict(result.as_dict()) == result


@pytest.mark.parametrize(("points", "signal", "given_step"), [(8, 3, False), (30, 1, False), (15, 3, True)])
def test_the_95_percent_interval_holds_the_rank_correlation_of_the_true_values(points, signal, given_step):
    """Without the attenuation it is 82, 14 and 65 % of the intervals for related quantities that do so."""
    spec = spec_from_file_location("study", Path(__file__).with_name("coverage_study_association.py"))
    study = module_from_spec(spec)
    spec.loader.exec_module(study)
    covered, plainly, *_ = study.study(
        points, signal, related=True, given_step=given_step, simulations=100, seed=1
    )
    assert covered >= 0.88
    assert plainly < covered
