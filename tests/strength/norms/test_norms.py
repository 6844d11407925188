"""Norms from factors against the matrix itself and its singular values."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corrpo.errors import BadInputError
from corrpo.strength.norms import NORMS
from corrpo.strength.norms.factored import matrix_norm, prefix_norms, product_norm, rank_one_norm, row_factor

sizes = st.integers(1, 9)


@given(n=st.integers(1, 3), t=sizes, d_out=sizes, d_in=sizes, norm=st.sampled_from(list(NORMS)), rank=sizes)
@settings(max_examples=100, deadline=None)
def test_product_norm_equals_the_norm_of_the_product(n, t, d_out, d_in, norm, rank):
    torch.manual_seed(n + 10 * t + 100 * d_out)
    delta = torch.randn(n, t, d_out, dtype=torch.float64)
    low_rank = torch.randn(t, rank, dtype=torch.float64) @ torch.randn(rank, d_in, dtype=torch.float64)
    truth = torch.stack([matrix_norm(d.T @ low_rank, norm) for d in delta])
    torch.testing.assert_close(product_norm(delta, low_rank, norm), truth, rtol=1e-6, atol=1e-6)
    copies = low_rank.expand(n, -1, -1)
    torch.testing.assert_close(product_norm(delta, copies, norm), truth, rtol=1e-6, atol=1e-6)


@given(t=st.integers(2, 9), d_in=sizes, prefix=st.integers(1, 9))
@settings(max_examples=50, deadline=None)
def test_a_prefix_of_the_row_factor_is_the_factor_of_the_prefix(t, d_in, prefix):
    torch.manual_seed(t)
    inputs = torch.randn(t, d_in, dtype=torch.float64)
    inputs[-1] = inputs[0]  # repeated tokens make the Gram matrix singular
    prefix = min(prefix, t)
    factor = row_factor(inputs)[:prefix, : min(prefix, d_in)]
    torch.testing.assert_close(factor @ factor.T, inputs[:prefix] @ inputs[:prefix].T, rtol=1e-9, atol=1e-9)


def test_float32_factors_keep_float32_accuracy_over_a_wide_spectrum():
    """Squaring in float32 would lose every singular value under 3e-4 of the largest."""
    torch.manual_seed(0)
    u, _ = torch.linalg.qr(torch.randn(64, 64, dtype=torch.float64))
    v, _ = torch.linalg.qr(torch.randn(64, 64, dtype=torch.float64))
    singular_values = torch.logspace(0, -6, 64, dtype=torch.float64)
    delta, inputs = (u * singular_values).T.float(), v.float()
    assert product_norm(delta[None], inputs).item() == pytest.approx(singular_values.sum().item(), rel=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_rank_one(norm):
    torch.manual_seed(0)
    delta, inputs = torch.randn(4, 5, dtype=torch.float64), torch.randn(4, 6, dtype=torch.float64)
    truth = torch.stack([matrix_norm(torch.outer(d, a), norm) for d, a in zip(delta, inputs, strict=True)])
    torch.testing.assert_close(rank_one_norm(delta, inputs, norm), truth)


def test_l1_in_blocks(monkeypatch):
    from corrpo.strength.norms import l1

    delta, inputs = torch.randn(2, 4, 7), torch.randn(4, 5)
    at_once = product_norm(delta, inputs, "l1")
    monkeypatch.setattr(l1, "_BLOCK_ELEMENTS", 1)
    torch.testing.assert_close(product_norm(delta, inputs, "l1"), at_once)


@pytest.mark.parametrize(
    "call",
    [
        lambda norm: product_norm(torch.ones(1, 1, 1), torch.ones(1, 1), norm),
        lambda norm: rank_one_norm(torch.ones(1, 1), torch.ones(1, 1), norm),
        lambda norm: matrix_norm(torch.ones(1, 1), norm),
    ],
)
def test_an_unknown_norm_is_named_with_the_known_ones(call):
    with pytest.raises(BadInputError, match="'trace' is unknown.*nuclear, frobenius, spectral, l1"):
        call("trace")


@pytest.mark.parametrize("tolerance", [0.0, 1.0, 2.5])
def test_a_tolerance_out_of_range_is_refused(tolerance):
    with pytest.raises(BadInputError, match="between 0 and 1"):
        product_norm(torch.ones(1, 1, 1), torch.ones(1, 1), tolerance=tolerance)


def test_only_the_nuclear_norm_takes_a_tolerance():
    with pytest.raises(BadInputError, match="norm 'spectral': only a nuclear norm"):
        product_norm(torch.ones(1, 1, 1), torch.ones(1, 1), "spectral", tolerance=0.1)


def test_prefixes_within_a_tolerance():
    torch.manual_seed(0)
    prefixes = [170, 171, 180, 190]
    delta = torch.randn(4, 190, 200) * torch.logspace(0, -20, 190)[:, None]
    for i, prefix in enumerate(prefixes):
        delta[i, prefix:] = 0
    factor = row_factor(torch.randn(190, 220))
    exact = prefix_norms(delta, factor, prefixes, "nuclear")
    within = prefix_norms(delta, factor, prefixes, "nuclear", 1e-2)
    assert ((within - exact).abs() <= 1e-2 * exact).all()
    assert not torch.equal(within, exact)
