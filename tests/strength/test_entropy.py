"""Token entropy in bits: against its definition, at its limits, and in bounded memory."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy as scipy_entropy

from corrpo.strength.entropy import CHUNK_ELEMENTS, squared_logits_gradient, token_entropy, token_logprob
from peak import peak_bytes


@given(st.lists(st.floats(-60, 60, width=32), min_size=1, max_size=40))
@settings(max_examples=100, deadline=None)
def test_equals_scipy_and_lies_between_zero_and_log2_vocabulary(row):
    logits = torch.tensor(row, dtype=torch.float64)
    bits = token_entropy(logits).item()
    assert bits == pytest.approx(scipy_entropy(torch.softmax(logits, -1).numpy(), base=2), abs=1e-9)
    assert 0 <= bits <= math.log2(len(row)) + 1e-9


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_low_precision_logits_are_summed_in_float32(dtype):
    logits = torch.randn(3, 5, 1000).to(dtype)
    bits = token_entropy(logits)
    assert bits.dtype == torch.float32
    assert bits.shape == (3, 5)
    torch.testing.assert_close(bits.double(), token_entropy(logits.double()), rtol=1e-5, atol=1e-5)


def test_a_token_that_cannot_be_written_adds_nothing():
    logits = torch.tensor([0.0, 0.0, -math.inf])
    assert token_entropy(logits).item() == pytest.approx(1.0)
    assert token_entropy(torch.tensor([3.0, -math.inf])).item() == 0


def test_rows_without_a_distribution_are_nan_and_others_unharmed():
    bits = token_entropy(torch.tensor([[0.0, math.nan], [math.inf, 0.0], [0.0, 0.0]]))
    assert torch.isnan(bits[:2]).all()
    assert bits[2] == 1


def test_chunks_do_not_change_the_result_and_shapes_are_kept(monkeypatch):
    logits = torch.randn(4, 3, 7)
    at_once = token_entropy(logits)
    monkeypatch.setattr("corrpo.strength.entropy.CPU_CHUNK_ELEMENTS", 8)
    torch.testing.assert_close(token_entropy(logits), at_once)
    tokens = torch.randint(7, (12,))
    truth = logits.reshape(12, 7).log_softmax(-1).gather(-1, tokens[:, None])[:, 0]
    torch.testing.assert_close(token_logprob(logits.reshape(12, 7), tokens), truth)
    assert token_entropy(torch.zeros(0, 7)).shape == (0,)


def test_the_squared_gradient_at_the_logits_is_that_of_autograd():
    logits = (3 * torch.randn(12, 7, dtype=torch.float64)).requires_grad_()
    tokens = torch.randint(7, (12,))
    logprob = logits.log_softmax(-1).gather(-1, tokens[:, None]).sum()
    (gradient,) = torch.autograd.grad(logprob, logits)
    squared = squared_logits_gradient(logits.detach(), tokens)
    torch.testing.assert_close(squared, gradient.square().sum(-1))
    certain = torch.tensor([[0.0, 200.0]])
    assert squared_logits_gradient(certain, torch.tensor([1])) == 0
    assert squared_logits_gradient(certain, torch.tensor([0])) == 2


def test_the_squared_gradient_of_a_confident_token_keeps_its_digits():
    """Beside a flat tail of 50,000 tokens; 1 - p in float32 was off by a fifth."""
    logits = torch.randn(40, 50_000, dtype=torch.float64)
    logits[:, 0] = torch.linspace(17, 21, 40, dtype=torch.float64)
    tokens = torch.zeros(40, dtype=torch.long)
    truth = squared_logits_gradient(logits, tokens)
    assert truth.max() < 1e-3
    torch.testing.assert_close(
        squared_logits_gradient(logits.float(), tokens).double(), truth, rtol=1e-3, atol=0
    )
    assert squared_logits_gradient(logits[:0], tokens[:0]).shape == (0,)


def test_gradients_flow():
    logits = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(token_entropy, logits)


def test_a_large_vocabulary_does_not_double_memory():
    """64 rows of 150k tokens: the working memory stays near the chunk, not near the input."""
    logits = torch.randn(64, 150_000)
    with torch.no_grad():
        peak = peak_bytes(lambda: token_entropy(logits))
    assert 0 < peak < 4 * CHUNK_ELEMENTS * 4
    assert peak < 2 * logits.nbytes
