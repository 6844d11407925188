"""Generation on a CPU without ended rows and with quick products of few rows: the same texts as ever."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from torch.nn.functional import linear
from transformers import AutoModelForCausalLM, DynamicCache, GenerationConfig

from corrpo.lab import checkpoint
from corrpo.models import threads
from corrpo.models.generation import few_rows, on_cpu
from corrpo.models.generation.backends.transformers import generate
from corrpo.models.generation.few_rows import FewRows, linear_of_few_rows
from corrpo.models.generation.on_cpu import generating_on_cpu
from corrpo.models.loading import load_model
from problems import PROBLEMS


class Tagged(torch.Tensor):
    """A tensor of somebody's own."""


with_mkl = pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="torch was built without MKL")
END = 7
SLIDING = next(problem for problem in PROBLEMS if problem.name == "gemma3-local-last")
"""With sliding windows that are shorter than the texts."""


@given(
    st.lists(st.integers(1, 5), min_size=0, max_size=3), st.integers(1, 9), st.integers(1, 9), st.booleans()
)
def test_the_product_is_that_of_torch(shape, width, height, has_bias):
    torch.manual_seed(0)
    x, weight = torch.randn(*shape, width), torch.randn(height, width)
    bias = torch.randn(height) if has_bias else None
    torch.testing.assert_close(linear_of_few_rows(x, weight, bias), linear(x, weight, bias))


@with_mkl
def test_few_rows_of_float32_without_gradients_alone_are_multiplied_so(monkeypatch):
    shapes = []
    monkeypatch.setattr(few_rows, "LEAST_WEIGHTS", 0)
    monkeypatch.setattr(
        few_rows,
        "linear_of_few_rows",
        lambda x, *rest: shapes.append(x.shape) or linear_of_few_rows(x, *rest),
    )
    layer = torch.nn.Linear(4, 3)
    few, one, many = torch.randn(2, 1, 4), torch.randn(1, 4), torch.randn(few_rows.MOST_ROWS + 1, 4)
    with FewRows():
        layer(few)
        with torch.no_grad():
            torch.testing.assert_close(layer(few), linear_of_few_rows(few, layer.weight, layer.bias))
            with torch.autocast("cpu"):
                layer(few)
            layer(few.as_subclass(Tagged))
            layer(one), layer(many), layer.double()(few.double())
    assert shapes == [few.shape]


@pytest.fixture
def quick(monkeypatch):
    """As if tiny models and small layers were large."""
    monkeypatch.setattr(threads, "TINY", 0)
    monkeypatch.setattr(on_cpu, "EVERY", 3)
    monkeypatch.setattr(few_rows, "LEAST_WEIGHTS", 0)


def lab(family):
    return AutoModelForCausalLM.from_pretrained(checkpoint(family, "reasoning"))


def adapted():
    """With an adapter that changes what it writes."""
    torch.manual_seed(0)
    return get_peft_model(lab("qwen2"), LoraConfig(target_modules="all-linear", init_lora_weights=False))


def batch(rows):
    """Left-padded prompts of different lengths."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(8, 40, (rows, 9), generator=generator)
    mask = torch.ones_like(ids)
    for row in range(rows):
        mask[row, : row % 5] = 0
    return {"input_ids": ids * mask, "attention_mask": mask}


def ending_now_and_then(model, inputs, tokens):
    """A config whose end tokens are every fourth of those that the model writes, and what it writes by it."""
    settings = {"max_new_tokens": tokens, "pad_token_id": 0}
    plain = model.generate(**inputs, generation_config=GenerationConfig(**settings, eos_token_id=None))
    ends = plain[:, inputs["input_ids"].shape[1] :].unique()[::4].tolist()
    config = GenerationConfig(**settings, eos_token_id=ends)
    return config, model.generate(**inputs, generation_config=config)


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_every_architecture_writes_the_same_texts(quick, problem):
    model, inputs = problem.model(), batch(6)
    config, expected = ending_now_and_then(model, inputs, tokens=9)
    with generating_on_cpu(model):
        assert torch.equal(model.generate(**inputs, generation_config=config), expected)


@pytest.mark.parametrize("make", [SLIDING.model, lambda: lab("qwen2"), lambda: lab("llama"), adapted])
def test_greedy_texts_are_those_of_the_whole_batch(quick, make):
    model = make().eval()
    inputs = batch(12)
    config, expected = ending_now_and_then(model, inputs, tokens=20)
    sizes = []
    hook = model.get_output_embeddings().register_forward_hook(lambda _, x, __: sizes.append(len(x[0])))
    with generating_on_cpu(model):
        written = model.generate(**inputs, generation_config=config)
    hook.remove()
    assert torch.equal(written, expected)
    assert "generate" not in model.__dict__
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0] == 12


def calls(model, inputs, **named):
    """What the model writes in the block, and how often its `generate` was called for it."""
    counted, generate = [], model.generate
    model.generate = lambda *given, **named: counted.append(1) or generate(*given, **named)
    with generating_on_cpu(model):
        written = model.generate(**inputs, **named)
    del model.generate
    return written, len(counted)


@pytest.mark.parametrize("owner", ["given", "the model's own"])
@pytest.mark.parametrize(
    "settings",
    [
        {"num_beams": 2},
        {"min_new_tokens": 12},
        {"forced_eos_token_id": 9},
        {"exponential_decay_length_penalty": (2, 1.5)},
        {"cache_implementation": "static"},
        {"use_cache": False},
    ],
    ids=str,
)
def test_what_one_call_must_see_to_its_end_keeps_the_batch_whole(quick, owner, settings):
    model, inputs = lab("qwen2").eval(), batch(3)
    config = GenerationConfig(max_new_tokens=14, pad_token_id=0, eos_token_id=END)
    (config if owner == "given" else model.generation_config).update(**settings)
    expected = model.generate(**inputs, generation_config=config)
    written, count = calls(model, inputs, generation_config=config)
    assert torch.equal(written, expected)
    assert count == 1


@pytest.mark.parametrize(
    "settings", [{"cache_implementation": "hybrid"}, {"max_length": 20}, {"use_cache": True}]
)
def test_what_a_config_of_the_hub_says_besides_does_no_harm(quick, settings):
    model, inputs = lab("qwen2").eval(), batch(6)
    config, expected = ending_now_and_then(model, inputs, tokens=14)
    model.generation_config.update(**settings)
    written, count = calls(model, inputs, generation_config=config)
    assert torch.equal(written, expected)
    assert count > 1


def test_processes_of_one_training_keep_their_batches_whole(quick, monkeypatch):
    model, inputs = lab("qwen2").eval(), batch(6)
    config, expected = ending_now_and_then(model, inputs, tokens=14)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    written, count = calls(model, inputs, generation_config=config)
    assert torch.equal(written, expected)
    assert count == 1
    written, count = calls(model, inputs, generation_config=config, synced_gpus=False)
    assert torch.equal(written, expected)
    assert count > 1


@pytest.mark.parametrize("family", ["qwen2", "llama"])
def test_greedy_responses_are_those_of_an_untouched_generate(quick, monkeypatch, family):
    model, tokenizer = load_model(checkpoint(family, "reasoning"))
    prompts = [[5, 6, 7], [8, 9, 10, 11], [12]]
    greedy = {"max_new_tokens": 30, "temperature": 0.0, "seed": 3}
    counted, select = [], DynamicCache.batch_select_indices
    monkeypatch.setattr(
        DynamicCache, "batch_select_indices", lambda cache, rows: counted.append(rows) or select(cache, rows)
    )
    ours = generate(model, tokenizer, prompts, **greedy)
    assert counted
    monkeypatch.setattr(threads, "TINY", 10**12)
    assert ours == generate(model, tokenizer, prompts, **greedy)


def test_drawn_responses_follow_from_the_seed(quick):
    model, tokenizer = load_model(checkpoint("qwen2", "reasoning"))
    once, again, other = (
        generate(model, tokenizer, [[5, 6, 7], [8, 9]], max_new_tokens=9, seed=seed) for seed in (3, 3, 4)
    )
    assert once == again != other
