"""The shipped checkpoints: they load, their size, and what they can do on held-out samples."""

import json
from functools import cache
from itertools import product

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from corrpo.lab import FAMILIES, KINDS, checkpoint, sample_set
from corrpo.lab.build.chats import is_refusal
from corrpo.lab.build.solve_rates import respond, solve_rate
from corrpo.lab.problems import held_out_problems
from corrpo.lab.tokenizer import build_tokenizer

EVERY = list(product(FAMILIES, KINDS))
PROBLEMS = held_out_problems(200)


@cache
def load(family, kind):
    folder = checkpoint(family, kind)
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize(("family", "kind"), EVERY)
def test_a_checkpoint_loads_as_an_ordinary_one(family, kind):
    model, tokenizer = load(family, kind)
    assert model.config.model_type == family
    assert 200_000 <= model.num_parameters() <= 500_000
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert tokenizer.get_vocab() == build_tokenizer().get_vocab()
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id
    assert {path.name for path in checkpoint(family, kind).iterdir()} == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    }


def test_all_checkpoints_together_take_at_most_8_mb():
    folder = checkpoint("qwen2", "base").parents[1]
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 8_000_000


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_reasoning_solves_40_to_80_percent_and_its_base_under_10(family, temperature):
    reasoning = solve_rate(*load(family, "reasoning"), PROBLEMS, temperature=temperature)
    assert 0.4 <= reasoning.value <= 0.8
    base = solve_rate(*load(family, "base"), PROBLEMS, temperature=temperature, max_new_tokens=15)
    assert base.value < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_only_the_safety_checkpoint_refuses_held_out_unsafe_requests(family):
    lines = sample_set("safety").read_text(encoding="utf-8").splitlines()
    prompts = [json.loads(line)["prompt"] for line in lines]
    refused = {}
    for kind in KINDS:
        model, tokenizer = load(family, kind)
        texts = tokenizer.batch_decode(
            respond(model, tokenizer, prompts, max_new_tokens=40), skip_special_tokens=True
        )
        refused[kind] = sum(map(is_refusal, texts))
    assert refused["safety"] >= 0.9 * len(prompts)
    assert refused["base"] == refused["reasoning"] == 0


def test_sampling_is_repeatable_and_leaves_the_random_state_and_mode_alone():
    model, tokenizer = load("qwen2", "reasoning")
    prompts = ["The old", "A"]
    state, mode = torch.get_rng_state(), model.training
    first = respond(model, tokenizer, prompts, temperature=1.0, seed=5, max_new_tokens=8)
    assert first == respond(model, tokenizer, prompts, temperature=1.0, seed=5, max_new_tokens=8)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training == mode
