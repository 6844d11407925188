"""Batches of prompts: room in the context, seeds, and what an error names."""

from typing import ClassVar

import pytest

from corrpo.errors import NonFiniteError
from corrpo.models.generation.backend import Engine, Generation
from corrpo.models.generation.backends.transformers import TransformersEngine, generate
from corrpo.models.generation.batches import respond_to_batch, response_text

SAMPLING = {"temperature": 1.0, "top_p": 0.9}


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


def test_without_a_seed_the_global_random_state_goes_on(lab_model, lab_tokenizer):
    import torch

    prompts = [lab_tokenizer("The dog ").input_ids]
    torch.manual_seed(7)
    first, second = (
        generate(lab_model, lab_tokenizer, prompts, max_new_tokens=8, seed=None) for _ in range(2)
    )
    assert first == generate(lab_model, lab_tokenizer, prompts, max_new_tokens=8, seed=7)
    assert first != second
