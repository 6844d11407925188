"""Correlations of a whole batch against scipy and against corrpo's own one-sequence statistics."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from corrpo.errors import BadInputError, NonFiniteError
from corrpo.rewards.rollout_correlation import STATISTICS, midranks, rollout_correlation
from corrpo.statistics import UndefinedCorrelationError, partial_spearman, pearson, spearman

JUDGES = {
    "spearman": lambda x, y, _: spearman(x, y),
    "pearson": lambda x, y, _: pearson(x, y),
    "position_partial": partial_spearman,
}
NUMBERS = st.integers(-3, 3).map(float) | st.floats(-1e3, 1e3, width=32)


@st.composite
def batches(draw):
    """Entropies and strengths with many ties, and masks with holes, of any size: [rollouts, tokens] each."""
    shape = draw(st.tuples(st.integers(0, 4), st.integers(0, 16)))
    numbers = draw(st.sampled_from([NUMBERS, st.integers(0, 1).map(float)]))
    n = shape[0] * shape[1]
    x, y = (
        torch.tensor(draw(st.lists(numbers, min_size=n, max_size=n)), dtype=torch.float64) for _ in range(2)
    )
    mask = torch.tensor(draw(st.lists(st.booleans(), min_size=n, max_size=n)), dtype=torch.bool)
    return x.reshape(shape), y.reshape(shape), mask.reshape(shape)


def one_row(statistic, x, y, mask, min_tokens) -> float:
    """What the statistics of one sequence say of a row's masked-in tokens."""
    kept = mask.numpy()
    if kept.sum() < min_tokens:
        return math.nan
    try:
        return JUDGES[statistic](x.numpy()[kept], y.numpy()[kept], np.flatnonzero(kept))
    except UndefinedCorrelationError:
        return math.nan


@pytest.mark.parametrize("statistic", STATISTICS)
@settings(max_examples=150, deadline=None)
@given(batches(), st.integers(3, 6))
def test_every_row_is_what_the_statistics_of_one_sequence_say(statistic, batch, min_tokens):
    rho = rollout_correlation(*batch, statistic=statistic, min_tokens=min_tokens)
    expected = [one_row(statistic, *row, min_tokens) for row in zip(*batch, strict=True)]
    assert rho.dtype == torch.float64
    assert rho.tolist() == pytest.approx(expected, abs=1e-10, nan_ok=True)
    assert (rho.isnan() | (rho.abs() <= 1)).all()


@pytest.mark.parametrize(("statistic", "scipy"), [("spearman", stats.spearmanr), ("pearson", stats.pearsonr)])
def test_equals_scipy_on_rows_of_many_lengths(statistic, scipy):
    lengths = torch.randint(8, 200, (32,))
    mask = torch.arange(200) < lengths[:, None]
    entropy, strength = torch.randn(32, 200).round(decimals=1), torch.rand(32, 200)
    rho = rollout_correlation(entropy, strength + entropy / 5, mask, statistic)
    for row, length in enumerate(lengths.tolist()):
        x, y = entropy[row, :length].double(), (strength + entropy / 5)[row, :length].double()
        assert rho[row].item() == pytest.approx(scipy(x.numpy(), y.numpy()).statistic, abs=1e-10)


@settings(max_examples=100, deadline=None)
@given(batches())
def test_midranks_are_those_of_the_masked_in_values(batch):
    values, _, mask = batch
    ranks = midranks(values, mask)
    assert torch.equal(ranks.isnan(), ~mask)
    for row, kept in enumerate(mask.numpy()):
        expected = stats.rankdata(values[row].numpy()[kept]) - 0.5
        assert np.array_equal(ranks[row].numpy()[kept], expected)


def test_holding_position_constant_takes_a_common_drift_away():
    position = torch.arange(400.0)
    entropy = (torch.randn(1, 400) + position / 20).double()
    strength = (torch.randn(1, 400) + position / 20).double()
    mask = torch.ones(1, 400, dtype=torch.bool)
    assert rollout_correlation(entropy, strength, mask) > 0.9
    assert rollout_correlation(entropy, strength, mask, "position_partial").abs() < 0.2


def test_where_there_is_no_rho():
    rising, mixed = torch.arange(10.0), torch.tensor([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0, 5.0, 3.0])
    level = torch.full((10,), 2.0)
    entropy = torch.stack([mixed, level, mixed, rising, mixed]).double()
    strength = torch.stack([rising, rising, level + 1e-13, mixed, mixed.flip(0)]).double()
    mask = torch.ones(5, 10, dtype=torch.bool)
    mask[4, 7:] = False
    defined = {
        name: (~rollout_correlation(entropy, strength, mask, name).isnan()).tolist() for name in STATISTICS
    }
    assert defined["spearman"] == defined["pearson"] == [True, False, False, True, False]
    assert defined["position_partial"] == [False] * 5
    assert not rollout_correlation(entropy, strength, mask, min_tokens=7)[4].isnan()


def test_what_is_masked_out_is_never_read():
    entropy, strength = torch.rand(3, 12), torch.rand(3, 12)
    mask = torch.rand(3, 12) < 0.9
    expected = rollout_correlation(entropy, strength, mask, min_tokens=3)
    spoiled = entropy.masked_fill(~mask, math.nan), strength.masked_fill(~mask, math.inf)
    assert torch.equal(rollout_correlation(*spoiled, mask, min_tokens=3), expected)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_names_its_rollout(value):
    entropy, strength, mask = torch.rand(3, 9), torch.rand(3, 9), torch.ones(3, 9, dtype=torch.bool)
    strength[1, 4] = value
    with pytest.raises(NonFiniteError, match=f"rollout 1: strength at token 4 is {value}") as caught:
        rollout_correlation(entropy, strength, mask)
    assert caught.value.row == 1


def test_low_precision_is_ranked_as_it_stands_and_no_gradient_flows():
    entropy = torch.rand(2, 300).bfloat16().requires_grad_()
    strength = torch.rand(2, 300)
    rho = rollout_correlation(entropy, strength, torch.ones(2, 300, dtype=torch.bool))
    assert not rho.requires_grad
    expected = stats.spearmanr(entropy[0].detach().float().numpy(), strength[0].numpy()).statistic
    assert rho[0].item() == pytest.approx(expected, abs=1e-10)


def test_long_rollouts_need_no_square_of_their_length():
    entropy, strength = torch.rand(2, 60_000).round(decimals=3), torch.rand(2, 60_000)
    rho = rollout_correlation(entropy, strength, torch.ones(2, 60_000, dtype=torch.bool))
    expected = stats.spearmanr(entropy[1].numpy(), strength[1].numpy()).statistic
    assert rho[1].item() == pytest.approx(expected, abs=1e-10)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("statistic", STATISTICS)
def test_the_device_does_not_change_the_result(statistic):
    batch = torch.rand(8, 100).round(decimals=1), torch.rand(8, 100), torch.rand(8, 100) < 0.7
    rho = rollout_correlation(*(part.cuda() for part in batch), statistic)
    assert rho.is_cuda
    torch.testing.assert_close(rho.cpu(), rollout_correlation(*batch, statistic), rtol=0, atol=1e-12)


def test_arguments_that_cannot_be_correlated_say_what_is_expected(no_shape_checks):
    values, mask = torch.rand(2, 9), torch.ones(2, 9, dtype=torch.bool)
    with pytest.raises(BadInputError, match="'kendall' is unknown; expected one of spearman, pearson"):
        rollout_correlation(values, values, mask, "kendall")
    with pytest.raises(BadInputError, match="min_tokens=2: expected 3 or more"):
        rollout_correlation(values, values, mask, min_tokens=2)
    unchecked = no_shape_checks(rollout_correlation)
    with pytest.raises(BadInputError, match=r"strength has shape \(2, 8\) and mask \(2, 9\)"):
        unchecked(values, values[:, :8], mask)
    with pytest.raises(BadInputError, match="torch.bool"):
        unchecked(values, values, mask.long())
    with pytest.raises(BadInputError, match=r"values has shape \(9,\)"):
        no_shape_checks(midranks)(values[0], mask[0])
