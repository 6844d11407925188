"""Watching a model write gives what a pass over the finished text gives, and the model is left as it was."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from corrpo.errors import BadInputError, NonFiniteError, UnsupportedModelError
from corrpo.lab import checkpoint
from corrpo.monitor import Monitor, MonitorOptions
from corrpo.monitor.token_meter import Meter
from corrpo.strength.gradient_norms import logit_gradient_norms
from problems import PROBLEMS

QUESTION = "What is 58 + 67?"


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(checkpoint("qwen2", "reasoning")).eval()


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(checkpoint("qwen2", "reasoning"))


@pytest.fixture(scope="module")
def monitor(model, tokenizer):
    return Monitor(model, tokenizer)


def own_fits():
    seen = {}
    for problem in PROBLEMS:
        if "own" in problem.fits and not problem.padding:
            seen.setdefault(problem.family, problem)
    return list(seen.values())


@pytest.mark.parametrize("problem", own_fits(), ids=lambda problem: problem.name)
def test_decoding_steps_give_the_norms_of_own_on_every_family(problem):
    model = problem.model()
    meter = Meter(model, ("q", "k", "v", "o"))
    prompt = problem.sequence(0)[0][:6].tolist()
    steps = list(meter.decode(prompt, max_new_tokens=8, seed=3))
    written = [step.token for step in steps]
    entropy, strength = meter.score(prompt, written)
    wide = next(model.parameters()).dtype == torch.float64
    tolerance = 1e-5 if wide else 1e-3
    np.testing.assert_allclose([step.entropy for step in steps], entropy, rtol=tolerance, atol=1e-4)
    np.testing.assert_allclose([step.strength for step in steps], strength, rtol=tolerance)
    ids = torch.tensor(prompt + written)
    norms = logit_gradient_norms(model, ids, range(6, len(ids)), estimator="own")
    np.testing.assert_allclose(strength, norms.double().mean((1, 2)), rtol=tolerance)


def test_watching_and_scoring_agree_to_the_last_number(monitor):
    tokens = list(monitor.watch(QUESTION, max_new_tokens=200, seed=1))
    final = tokens[-1].final
    assert final is not None
    assert final.rho is not None
    assert all(token.final is None for token in tokens[:-1])
    assert tokens[-1].token in monitor.ends
    assert final.tokens == len(tokens) - 1
    scored = monitor.score(QUESTION, "".join(token.text for token in tokens))
    assert scored.tokens == final.tokens
    assert scored.rho.value == pytest.approx(final.rho.value, abs=0.01)
    np.testing.assert_allclose(scored.strength, final.strength, rtol=1e-3)
    assert final.lowest <= tokens[-1].rho.value <= final.highest
    assert scored.flag is None


def test_the_model_is_left_as_it_was(monitor, model):
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    model.train()
    flags = [parameter.requires_grad for parameter in model.parameters()]
    state = torch.get_rng_state()
    watching = monitor.watch(QUESTION, max_new_tokens=5)
    next(watching)
    assert model.training
    assert "forward" not in model.get_output_embeddings().__dict__
    assert not any(module._forward_hooks for module in model.modules())
    list(watching)
    monitor.score(QUESTION, "<think>58+67</think>")
    model.eval()
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_two_responses_may_be_watched_in_turn(monitor):
    apart = [[t.token for t in monitor.watch(QUESTION, max_new_tokens=30, seed=seed)] for seed in (1, 2)]
    together = [monitor.watch(QUESTION, max_new_tokens=30, seed=seed) for seed in (1, 2)]
    mixed = [[], []]
    for one, two in zip(*together, strict=True):
        mixed[0].append(one.token)
        mixed[1].append(two.token)
    assert mixed == apart


def test_a_seed_gives_the_same_response_and_temperature_zero_the_likeliest(monitor, model):
    greedy = [t.token for t in monitor.watch(QUESTION, max_new_tokens=40, temperature=0)]
    ids = torch.tensor([monitor.prompt_ids(QUESTION)])
    expected = model.generate(input_ids=ids, max_new_tokens=40, do_sample=False)[0, ids.shape[1] :]
    assert greedy == expected.tolist()[: len(greedy)]


def test_what_cannot_be_measured_is_refused(monitor, model, tokenizer):
    with pytest.raises(BadInputError, match="response has no token"):
        monitor.score(QUESTION, [])
    with pytest.raises(BadInputError, match="token id 99999 is not one"):
        monitor.score([99999], [1, 2])
    with pytest.raises(BadInputError, match="tokens; the model reads"):
        monitor.score(QUESTION, "1" * 1_000)
    with pytest.raises(BadInputError, match="10,000 characters.*shorten it"):
        monitor.score(QUESTION, "1" * 10_000)
    with pytest.raises(BadInputError, match="shorten it"):
        monitor.watch("1" * 10_000)
    with pytest.raises(BadInputError, match="temperature"):
        monitor.watch(QUESTION, temperature=-1)
    with pytest.raises(BadInputError, match="text or a list of chat messages"):
        monitor.score([], "x")


def test_a_model_that_something_else_mixes_is_refused():
    from recurrent_problems import RECURRENT

    hybrid = RECURRENT[0].model()
    with pytest.raises((UnsupportedModelError, BadInputError)):
        Meter(hybrid, ("q", "o"))


def test_nan_weights_are_reported(tokenizer):
    broken = AutoModelForCausalLM.from_pretrained(checkpoint("qwen2", "reasoning")).eval()
    monitor = Monitor(broken, tokenizer)
    with torch.no_grad():
        broken.get_output_embeddings().weight.fill_(float("nan"))
    with pytest.raises(NonFiniteError, match="while it writes"):
        list(monitor.watch(QUESTION))


def test_characters_of_several_tokens_come_whole():
    from corrpo.monitor.incremental_text import IncrementalText

    class Bytes:
        def decode(self, ids, skip_special_tokens):
            return bytes(ids).decode(errors="replace")

    text = "añ€😀 z"
    steps = IncrementalText(Bytes())
    parts = [steps.push(byte) for byte in text.encode()]
    assert "".join(parts) == text
    assert "�" not in "".join(parts)


def test_options_out_of_range_are_refused():
    for options in ({"window": 2}, {"min_tokens": 1}):
        with pytest.raises(BadInputError):
            MonitorOptions(**options)
