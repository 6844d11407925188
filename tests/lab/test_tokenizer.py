"""The lab's tokenizer: round trips, tags, markers, the chat template, unknown characters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from corrpo.lab import FAMILIES, checkpoint
from corrpo.lab.tokenizer import (
    ASSISTANT,
    CHARACTERS,
    EOS,
    MARKERS,
    PAD,
    TAGS,
    USER,
    build_tokenizer,
)

TOKENIZER = build_tokenizer()
PIECES = st.lists(st.sampled_from((*CHARACTERS, *TAGS)), max_size=60)


@given(PIECES)
def test_text_and_tags_survive_a_round_trip_one_token_each(pieces):
    ids = TOKENIZER.encode("".join(pieces))
    assert len(ids) == len(pieces)
    assert TOKENIZER.decode(ids, skip_special_tokens=True) == "".join(pieces)


@given(st.text(max_size=40))
def test_characters_outside_the_vocabulary_are_dropped_and_no_others(text):
    if not any(piece in text for piece in (*MARKERS, *TAGS)):
        known = "".join(character for character in text if character in CHARACTERS)
        assert TOKENIZER.encode(text) == TOKENIZER.encode(known)
        assert TOKENIZER.decode(TOKENIZER.encode(text)) == known


def test_markers_are_special_and_tags_are_not():
    assert set(TOKENIZER.all_special_tokens) == set(MARKERS)
    assert (TOKENIZER.pad_token, TOKENIZER.eos_token) == (PAD, EOS)
    assert (
        TOKENIZER.decode(TOKENIZER.encode(f"{USER}a<answer>b{EOS}"), skip_special_tokens=True) == "a<answer>b"
    )


def test_chat_template_renders_turns_and_marks_the_assistants_tokens():
    chat = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "<think>a"},
    ]
    assert TOKENIZER.apply_chat_template(chat, tokenize=False) == f"{USER}s{USER}q{ASSISTANT}<think>a{EOS}"
    asked = TOKENIZER.apply_chat_template(chat[:2], tokenize=False, add_generation_prompt=True)
    assert asked == f"{USER}s{USER}q{ASSISTANT}"
    out = TOKENIZER.apply_chat_template(chat, return_dict=True, return_assistant_tokens_mask=True)
    assert out["assistant_masks"] == [0] * 5 + [1] * 3


@pytest.mark.parametrize("family", FAMILIES)
def test_loaded_from_a_checkpoint_it_is_the_same(family):
    loaded = AutoTokenizer.from_pretrained(checkpoint(family, "base"))
    text = f"{USER}What is 1 + 1?{ASSISTANT}<think>é it's\n\n 2</think>{EOS}"
    assert loaded.encode(text) == TOKENIZER.encode(text)
    for skip in (False, True):
        ids = TOKENIZER.encode(text)
        assert loaded.decode(ids, skip_special_tokens=skip) == TOKENIZER.decode(ids, skip_special_tokens=skip)
    assert loaded.chat_template == TOKENIZER.chat_template
    padded = loaded(["a", "b d"], padding=True)
    assert set(padded) == {"input_ids", "attention_mask"}
    assert padded["attention_mask"] == [[0, 0, 1], [1, 1, 1]]
