"""Batches of prompts: room in the context, seeds, and what an error names."""

from typing import ClassVar

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from corrpo.errors import NonFiniteError
from corrpo.models.generation.backend import Engine, Generation
from corrpo.models.generation.backends.transformers import TransformersEngine, generate
from corrpo.models.generation.batches import respond_to_batch, response_text

SAMPLING = {"temperature": 1.0, "top_p": 0.9}


class NoTokenizer:
    """Knows no special tokens."""

    eos_token_id = pad_token_id = None


class Endless:
    """Writes as many tokens as it may, and keeps what it was asked."""

    tokenizer = None
    end_tokens: ClassVar[set[int]] = {0}

    def __init__(self, context: int | None = 20, error: NonFiniteError | None = None):
        self.context, self.error, self.asked = context, error, []

    def describe(self):
        return {"name": "endless"}

    def respond(self, prompts, **sampling):
        self.asked.append((prompts, sampling))
        if self.error is not None:
            raise self.error
        return [Generation([1] * sampling["max_new_tokens"], finished=True) for _ in prompts]


@pytest.mark.parametrize(("context", "lengths"), [(20, [2, 10]), (14, [0, 4]), (None, [10, 10])])
def test_a_long_prompt_does_not_shorten_the_others(context, lengths):
    engine = Endless(context)
    prompts = [[1] * 18, [1] * 10] if context != 14 else [[1] * 14, [1] * 10]
    result = respond_to_batch(engine, prompts, "ab", number=3, max_new_tokens=10, seed=2, **SAMPLING)
    assert [len(generation.ids) for generation in result] == lengths
    assert [generation.finished for generation in result] == [length == max(lengths) for length in lengths]
    longest = max(lengths)
    assert engine.asked == [(prompts, {"max_new_tokens": longest, "seed": 2_000_009, **SAMPLING})]


def test_nothing_is_asked_of_an_engine_without_prompts():
    engine = Endless()
    assert respond_to_batch(engine, [], [], number=0, max_new_tokens=1, seed=0, **SAMPLING) == []
    assert engine.asked == []


@pytest.mark.parametrize(("row", "message"), [(1, "^problem b: NaN$"), (None, "^NaN$")])
def test_an_error_names_the_prompt_where_it_is_known(row, message):
    error = NonFiniteError("NaN")
    error.row = row
    names = ["problem a", "problem b"]
    with pytest.raises(NonFiniteError, match=message):
        respond_to_batch(
            Endless(error=error), [[1], [2]], names, number=0, max_new_tokens=5, seed=0, **SAMPLING
        )


def test_a_model_and_its_tokenizer_are_an_engine(lab_model, lab_tokenizer):
    engine = TransformersEngine(lab_model, lab_tokenizer, "the lab's")
    assert isinstance(engine, Engine)
    assert engine.describe()["name"] == "the lab's"
    prompts = [lab_tokenizer("The dog ").input_ids, lab_tokenizer("a").input_ids]
    sampling = {"max_new_tokens": 8, "temperature": 1.0, "top_p": 1.0}
    result = respond_to_batch(engine, prompts, ["one", "two"], number=0, seed=4, **sampling)
    assert result == generate(lab_model, lab_tokenizer, prompts, seed=4 * 1_000_003, **sampling)
    ended = Generation([*lab_tokenizer("a cat").input_ids, lab_tokenizer.eos_token_id], finished=True)
    assert response_text(engine, ended) == "a cat"


@pytest.mark.parametrize("family", ["gpt2", "opt", "gpt_neo"])
def test_a_model_with_a_table_of_positions_never_reads_beyond_it(family):
    size = {"max_position_embeddings": 24, "hidden_size": 16, "num_attention_heads": 2, "vocab_size": 50}
    layers = {"num_layers": 2, "attention_types": [[["global", "local"], 1]]}
    layers = layers if family == "gpt_neo" else {"num_hidden_layers": 2}
    extra = {"word_embed_proj_dim": 16, "ffn_dim": 32} if family == "opt" else {}
    config = AutoConfig.for_model(
        family, **size, **layers, **extra, bos_token_id=1, eos_token_id=None, pad_token_id=0
    )
    torch.manual_seed(0)
    engine = TransformersEngine(AutoModelForCausalLM.from_config(config), NoTokenizer())
    prompts = [[5] * length for length in (23, 3, 20, 10)]
    greedy = {"temperature": 0.0, "top_p": 1.0}
    result = respond_to_batch(engine, prompts, "abcd", number=0, max_new_tokens=15, seed=0, **greedy)
    assert [len(generation.ids) for generation in result] == [1, 15, 4, 14]
    for prompt, generation in zip(prompts, result, strict=True):
        alone = respond_to_batch(engine, [prompt], "a", number=0, max_new_tokens=15, seed=0, **greedy)
        assert alone == [generation]


def test_an_error_after_a_full_context_names_the_prompt_that_goes_on(monkeypatch):
    config = AutoConfig.for_model("gpt2", n_positions=12, n_embd=16, n_layer=1, n_head=2, vocab_size=50)
    model = AutoModelForCausalLM.from_config(config)
    calls = []

    def generate_until_nan(**given):
        calls.append(given["input_ids"].tolist())
        if len(calls) == 2:
            error = NonFiniteError("NaN")
            error.row = 0
            raise error
        new = given["generation_config"].max_new_tokens
        return torch.cat([given["input_ids"], torch.full((len(calls[0]), new), 7)], 1)

    monkeypatch.setattr(model, "generate", generate_until_nan)
    with pytest.raises(NonFiniteError, match="^b: NaN$"):
        respond_to_batch(
            TransformersEngine(model, NoTokenizer()),
            [[5] * 10, [6] * 3],
            "ab",
            number=0,
            max_new_tokens=9,
            seed=0,
            **SAMPLING,
        )
    assert calls[1] == [[6, 6, 6, 7, 7]]


def test_without_a_seed_the_global_random_state_goes_on(lab_model, lab_tokenizer):
    prompts = [lab_tokenizer("The dog ").input_ids]
    torch.manual_seed(7)
    first, second = (
        generate(lab_model, lab_tokenizer, prompts, max_new_tokens=8, seed=None) for _ in range(2)
    )
    assert first == generate(lab_model, lab_tokenizer, prompts, max_new_tokens=8, seed=7)
    assert first != second
