"""Gradients so small or large that their squares are not numbers: a norm scales with its gradient."""

import pytest
import torch
from torch import nn

from corrpo.strength.estimators import ESTIMATORS
from corrpo.strength.gradient_norms import logit_gradient_norms
from corrpo.strength.norms import NORMS
from corrpo.strength.norms.factored import matrix_norm, product_norm, rank_one_norm
from fused_problems import FUSED

GPT2 = next(problem for problem in FUSED if problem.name == "gpt2")  # its norms stay in the model's dtype
IDS, _, POSITIONS = GPT2.sequence()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(
    ("scale", "dtype"), [(1e-200, torch.float64), (1e200, torch.float64), (1e-25, torch.float32)]
)
def test_every_estimator_at_every_scale(scale, dtype, estimator, norm):
    model = GPT2.model(dtype)
    options = {"estimator": estimator, "norm": norm}
    before = logit_gradient_norms(model, IDS, POSITIONS, **options)
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach() * scale)
    after = logit_gradient_norms(model, IDS, POSITIONS, **options)
    assert (before > 0).all()
    close = 1e-7 if dtype == torch.float64 else 1e-3
    torch.testing.assert_close(after.double() / scale, before.double(), rtol=close, atol=0)


@pytest.mark.parametrize("tolerance", [None, 0.01])
@pytest.mark.parametrize(("left", "right"), [(1e-200, 1.0), (1e200, 1.0), (1e-180, 1e150), (1e-3, 1e-170)])
@pytest.mark.parametrize("norm", NORMS)
def test_every_norm_of_products_at_every_scale(norm, left, right, tolerance):
    if tolerance is not None and norm != "nuclear":
        return
    generator = torch.Generator().manual_seed(0)
    delta, inputs = (torch.randn(2, 6, d, generator=generator, dtype=torch.float64) for d in (5, 9))
    scale = left * right
    for a in (inputs, inputs[0]):
        norms = product_norm(delta * left, a * right, norm, tolerance)
        torch.testing.assert_close(norms / scale, product_norm(delta, a, norm), rtol=0.01, atol=0)
    norms = rank_one_norm(delta[0] * left, inputs[0] * right, norm)
    torch.testing.assert_close(norms / scale, rank_one_norm(delta[0], inputs[0], norm), rtol=1e-12, atol=0)
    value = matrix_norm(delta[0] * scale, norm)
    torch.testing.assert_close(value / scale, matrix_norm(delta[0], norm), rtol=1e-12, atol=0)


def test_a_norm_beyond_the_largest_number_is_infinite():
    huge = torch.full((1, 2, 2), 1e200, dtype=torch.float64)
    assert product_norm(huge, huge).item() == float("inf")
