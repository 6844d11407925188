"""Linear layers of a few rows on a CPU: as torch's, where they are used, and where they are not."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import linear

from corrpo.lab import checkpoint
from corrpo.models import few_rows
from corrpo.models.few_rows import few_rows_on_cpu, linear_of_few_rows
from corrpo.models.generation.backends.transformers import generate
from corrpo.models.loading import load_model


@given(
    st.lists(st.integers(1, 5), min_size=0, max_size=3), st.integers(1, 9), st.integers(1, 9), st.booleans()
)
def test_the_product_is_that_of_torch(shape, width, height, has_bias):
    torch.manual_seed(0)
    x, weight = torch.randn(*shape, width), torch.randn(height, width)
    bias = torch.randn(height) if has_bias else None
    torch.testing.assert_close(linear_of_few_rows(x, weight, bias), linear(x, weight, bias))


@pytest.fixture
def counted(monkeypatch):
    """The shapes that were multiplied our way."""
    shapes, ours = [], linear_of_few_rows
    monkeypatch.setattr(few_rows, "TINY", 0)
    monkeypatch.setattr(few_rows, "LEAST_WEIGHTS", 0)
    monkeypatch.setattr(
        few_rows, "linear_of_few_rows", lambda x, *rest: shapes.append(tuple(x.shape)) or ours(x, *rest)
    )
    return shapes


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="torch was built without MKL")
def test_used_for_a_few_rows_of_float32_without_gradients_alone(counted):
    layer = torch.nn.Linear(4, 3)
    few, one, many = torch.randn(2, 1, 4), torch.randn(1, 4), torch.randn(few_rows.MOST_ROWS + 1, 4)
    with few_rows_on_cpu(layer):
        layer(few)
        with torch.no_grad():
            torch.testing.assert_close(layer(few), linear(few, layer.weight, layer.bias))
            layer(one), layer(many), layer.double()(few.double())
    with torch.no_grad():
        layer.float()(few)
    assert counted == [(2, 1, 4), (2, 1, 4)]


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="torch was built without MKL")
@pytest.mark.parametrize("family", ["qwen2", "llama"])
def test_responses_are_those_of_torchs_products(counted, monkeypatch, family):
    model, tokenizer = load_model(checkpoint(family, "reasoning"))
    prompts = [[5, 6, 7], [8, 9, 10, 11]]
    options = {"max_new_tokens": 12, "temperature": 1.0, "seed": 3}
    ours = generate(model, tokenizer, prompts, **options)
    assert (2, 1, model.config.hidden_size) in counted
    monkeypatch.setattr(few_rows, "MOST_ROWS", 0)
    assert ours == generate(model, tokenizer, prompts, **options)
