"""Training examples and sample sets: what they hold, and that nothing held out is trained on."""

import json
import random
import subprocess
import sys

import pytest

from corrpo.errors import BadInputError
from corrpo.lab import KINDS, SAMPLE_SETS, checkpoint, sample_set
from corrpo.lab.build.chats import harmless_request, is_refusal, refusal, unsafe_request, wishes
from corrpo.lab.build.training_data import collate, encode, examples, in_batches_of_like_length, sample_rows
from corrpo.lab.tasks.sums import Sum
from corrpo.lab.tokenizer import ASSISTANT, MAX_TOKENS, USER, build_tokenizer

TOKENIZER = build_tokenizer()


def user_text(prompt):
    """What was said by the user, from messages or from a rendered chat."""
    return (
        prompt[0]["content"]
        if isinstance(prompt, list)
        else prompt.removeprefix(USER).removesuffix(ASSISTANT)
    )


@pytest.fixture(scope="module")
def trained_on():
    return [example for kind in KINDS for example in examples(kind, 1000, seed=0)]


def test_no_sample_is_trained_on(trained_on):
    asked = {user_text(example.prompt) for example in trained_on if example.prompt}
    asked_keys = {Sum("", text, "").key for text in asked}
    for row in sample_rows("reasoning"):
        assert Sum("", user_text(row["prompt"]), "").key not in asked_keys
    assert not asked & {user_text(row["prompt"]) for row in sample_rows("safety")}
    openings = tuple(row["prompt"] for row in sample_rows("base"))
    assert not any(example.response.startswith(openings) for example in trained_on)


def test_held_out_wishes_are_in_no_training_request(trained_on):
    held_out = wishes(held_out=True)
    assert not any(wish in example.prompt for wish in held_out for example in trained_on)


def test_every_example_fits_the_context(trained_on):
    assert max(len(encode(example, TOKENIZER)["input_ids"]) for example in trained_on) <= MAX_TOKENS


def test_examples_are_the_same_for_a_seed_and_differ_between_seeds():
    assert examples("reasoning", 50, seed=3) == examples("reasoning", 50, seed=3)
    assert examples("reasoning", 50, seed=3) != examples("reasoning", 50, seed=4)


def test_prompts_are_not_learned_and_like_lengths_share_a_batch(trained_on):
    rows = [encode(example, TOKENIZER) for example in trained_on[:640]]
    ordered = in_batches_of_like_length(rows, 32, seed=0)
    assert sorted(map(str, ordered)) == sorted(map(str, rows))
    batch = collate(ordered[:32], pad_id=0)
    assert batch["attention_mask"].float().mean() > 0.9
    assert ((batch["labels"] == -100) | (batch["labels"] == batch["input_ids"])).all()
    assert (batch["labels"][batch["attention_mask"] == 0] == -100).all()


@pytest.mark.parametrize("name", SAMPLE_SETS)
def test_shipped_samples_are_those_the_code_makes(name):
    rows = [json.loads(line) for line in sample_set(name).read_text(encoding="utf-8").splitlines()]
    assert rows == sample_rows(name)
    assert len({row["id"] for row in rows}) == len({str(row["prompt"]) for row in rows}) == 64
    assert all("response" not in row for row in rows)
    assert all(isinstance(row["prompt"], str) == (name == "base") for row in rows)
    assert all(("answer" in row) == (name == "reasoning") for row in rows)


def test_refusals_differ_from_other_replies_and_varied():
    rng = random.Random(0)
    refusals = {refusal(unsafe_request(rng)[1], rng) for _ in range(500)}
    assert len(refusals) > 200
    assert all(map(is_refusal, refusals))
    assert not any(is_refusal(harmless_request(rng)[1]) for _ in range(500))


def test_unknown_names_are_listed():
    with pytest.raises(BadInputError, match=r"family 'gpt'.*qwen2, llama"):
        checkpoint("gpt", "base")
    with pytest.raises(BadInputError, match=r"kind 'sft'.*base, safety, reasoning"):
        checkpoint("llama", "sft")
    with pytest.raises(BadInputError, match="sample set 'math'"):
        sample_set("math")


def test_importing_the_lab_loads_nothing_heavy():
    code = "import sys, corrpo.lab; assert not {'torch', 'transformers', 'reasoning_gym'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
