"""Products of float32 matrices by bfloat16 instructions: where they are used, and how close they are."""

import pytest
import torch

from corrpo.models import matrix_products
from corrpo.models.matrix_products import bfloat16_products, float32_products, has_bfloat16
from corrpo.models.own_precision import own_precision


@pytest.fixture
def modern(monkeypatch):
    """As if the CPU multiplied bfloat16."""
    monkeypatch.setattr(matrix_products, "has_bfloat16", lambda: True)


def test_torch_is_allowed_to_within_the_block_alone(modern):
    before = torch.get_float32_matmul_precision()
    with bfloat16_products():
        assert torch.get_float32_matmul_precision() == "medium"
        with float32_products():
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "medium"
    with pytest.raises(ZeroDivisionError), bfloat16_products():
        _ = 1 / 0
    assert torch.get_float32_matmul_precision() == before


def test_a_cpu_without_the_instructions_goes_on_as_it_was(monkeypatch):
    monkeypatch.setattr(matrix_products, "has_bfloat16", lambda: False)
    before = torch.get_float32_matmul_precision()
    with bfloat16_products():
        assert torch.get_float32_matmul_precision() == before


def test_products_are_those_of_rounded_factors_or_closer():
    torch.manual_seed(0)
    x, weight = torch.randn(40, 64), torch.randn(64, 48)
    with bfloat16_products():
        product = x @ weight
    rounded = x.bfloat16().double() @ weight.bfloat16().double()
    exact = x.double() @ weight.double()
    assert (product - exact).norm() <= 1.01 * (rounded - exact).norm()
    assert has_bfloat16() or torch.allclose(product, x @ weight)


def test_a_model_is_measured_in_its_own_precision_inside(modern, lab_model):
    with bfloat16_products():
        with own_precision(lab_model):
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "medium"
