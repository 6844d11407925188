"""Norms from matrix products alone: as accurate as stated, and given up where they are not."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corrpo.strength.norms import nuclear
from corrpo.strength.norms.factored import product_norm
from corrpo.strength.norms.newton_schulz import (
    ACCURACY,
    SMALLEST_VALUE,
    newton_schulz,
    nuclear_by_products,
    polynomials,
)
from strength.norms.gradients import SCALES, SPECTRA, factors

sizes = st.integers(1, 9) | st.integers(40, 90)
MEASURED = {torch.float32: 2e-6, torch.float64: 1e-13}


@given(
    rows=sizes,
    columns=sizes,
    spectrum=st.sampled_from(SPECTRA),
    scale=st.sampled_from(SCALES),
    seed=st.integers(0, 1000),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
@settings(max_examples=150, deadline=None)
def test_the_error_stated_covers_the_error_made(rows, columns, spectrum, scale, seed, dtype):
    delta, inputs = factors(spectrum, max(rows, columns), rows, columns, scale, seed)
    matrix = (delta.T @ inputs).to(dtype)[None]
    values, errors = newton_schulz(matrix)
    truth = torch.linalg.svdvals(matrix.double()).sum(-1)
    assert (values - truth).abs() <= errors <= ACCURACY[dtype] * values
    assert (values - truth).abs() <= MEASURED[dtype] * truth


def test_the_steps_take_every_value_to_one():
    for smallest in SMALLEST_VALUE.values():
        x = torch.logspace(0, torch.tensor(smallest).log10().item(), 5000, dtype=torch.float64)
        for a, b, c in polynomials(smallest):
            x = x * (a + b * x**2 + c * x**4)
            assert x.min() > 0
        torch.testing.assert_close(x, torch.ones_like(x), rtol=0, atol=1e-12)


def test_what_did_not_arrive_is_said_and_left_to_eigenvalues(monkeypatch):
    torch.manual_seed(0)
    matrix = torch.randn(2, 30, 40, dtype=torch.float64)
    matrix[1] *= torch.logspace(0, -3, 40, dtype=torch.float64)
    truth = torch.linalg.svdvals(matrix).sum(-1)
    monkeypatch.setattr(
        "corrpo.strength.norms.newton_schulz.polynomials", lambda smallest: ((1.5, -0.5, 0.0),) * 3
    )
    values, errors = newton_schulz(matrix)
    assert ((values - truth).abs() <= errors).all()
    assert (errors > ACCURACY[torch.float64] * values).all()
    values, errors = nuclear_by_products(matrix)
    torch.testing.assert_close(values, truth, rtol=1e-12, atol=0)
    assert ((values - truth).abs() <= errors).all()
    assert (errors <= 1e-6 * values).all()


def test_a_polar_factor_with_a_wrong_sign_is_not_believed(monkeypatch):
    """X = -U V^T also leaves nothing of M - M X^T X; the Cholesky factor tells."""
    monkeypatch.setattr(
        "corrpo.strength.norms.newton_schulz.polynomials", lambda smallest: ((-15 / 8, 10 / 8, -3 / 8),) * 3
    )
    _, errors = newton_schulz(torch.eye(4)[None])
    assert torch.isinf(errors).all()


@pytest.mark.parametrize("norm", ["nuclear", "spectral", "frobenius"])
def test_product_norm_by_products_alone(monkeypatch, norm):
    torch.manual_seed(0)
    delta, inputs = torch.randn(3, 20, 15), torch.randn(20, 12)
    expected = product_norm(delta, inputs, norm)
    monkeypatch.setattr(nuclear, "_by_products", lambda small: True)
    torch.testing.assert_close(product_norm(delta, inputs, norm), expected, rtol=1e-6, atol=0)
