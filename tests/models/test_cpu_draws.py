"""Tokens drawn by one uniform number a row: the distribution, the refusals, and where it is used."""

import pytest
import torch
from scipy.stats import chisquare
from transformers import AutoModelForCausalLM

from corrpo.lab import checkpoint
from corrpo.models import threads
from corrpo.models.generation import cpu_draws
from corrpo.models.generation.cpu_draws import drawn
from corrpo.models.generation.on_cpu import generating_on_cpu


@pytest.mark.parametrize("draw", [drawn, lambda p: torch.multinomial(p, num_samples=1)])
def test_the_draws_have_the_distribution(draw):
    torch.manual_seed(0)
    p = torch.tensor([0.0, 0.5, 0.2, 0.0, 0.25, 0.05, 0.0])
    counts = draw(p.expand(20_000, -1)).flatten().bincount(minlength=len(p))
    assert not counts[p == 0].any()
    assert chisquare(counts[p > 0], p[p > 0] * 20_000).pvalue > 1e-3


def test_rows_need_not_sum_to_one_and_their_ends_are_drawn():
    torch.manual_seed(0)
    assert set(drawn(torch.tensor([3.0, 0.0, 3.0]).expand(100, -1)).flatten().tolist()) == {0, 2}


@pytest.mark.parametrize("width", [1, 511, 512, 513, 2000])
def test_of_several_blocks_each_has_its_share_and_nothing_else_is_drawn(width):
    torch.manual_seed(0)
    p = torch.zeros(width)
    p[:: max(1, width // 7)] = 0.3
    counts = drawn(p.expand(20_000, -1)).flatten().bincount(minlength=width)
    assert counts.shape == (width,)
    assert not counts[p == 0].any()
    assert width == 1 or chisquare(counts[p > 0]).pvalue > 1e-3


def test_the_end_of_a_block_is_drawn_where_its_sums_differ_in_the_last_bit(monkeypatch):
    p = torch.rand(50, 1500, generator=torch.Generator().manual_seed(0)) ** 8
    p[:, 512 - 100 : 512] = 0
    monkeypatch.setattr(
        torch, "rand_like", lambda total: p[:, :512].sum(-1, keepdim=True) / total * (1 - 1e-12)
    )
    tokens = drawn(p)
    assert (p.gather(-1, tokens) > 0).all()
    assert (tokens <= 512).all()


@pytest.mark.parametrize(
    ("bad", "message"), [([0.5, float("nan")], "inf"), ([0.5, float("inf")], "inf"), ([0.0, 0.0], "sum")]
)
def test_what_is_no_distribution_is_refused_as_torch_does(bad, message):
    with pytest.raises(RuntimeError, match=message):
        drawn(torch.tensor([bad]))


def test_generate_draws_so_within_the_block_and_not_for_a_tiny_model(monkeypatch):
    calls = []
    monkeypatch.setattr(cpu_draws, "drawn", lambda p: calls.append(p.shape) or drawn(p))
    model = AutoModelForCausalLM.from_pretrained(checkpoint("qwen2", "base"))
    ids = torch.tensor([[5, 6, 7], [8, 9, 10]])
    options = {"do_sample": True, "top_k": 0, "max_new_tokens": 4, "min_new_tokens": 4}
    with generating_on_cpu(model):
        model.generate(ids, **options)
    assert not calls
    monkeypatch.setattr(threads, "TINY", 0)
    with generating_on_cpu(model):
        assert model.generate(ids, **options).shape == (2, 7)
    assert calls == [(2, model.config.vocab_size)] * 4
    model.generate(ids, **options)
    assert len(calls) == 4
