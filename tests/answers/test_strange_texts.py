"""Any text at all: reading it raises nothing but what it says, and takes time in proportion to its length."""

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corrpo.answers.notation import UnreadableAnswerError
from corrpo.answers.reading import final_answer
from corrpo.answers.structure import read_answer

MARKS = [
    "1",
    "23",
    "0.5",
    "/",
    "-",
    "+",
    "^",
    "_",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    " ",
    "x",
    "i",
    "e5",
    "%",
    "=",
]
MARKS += [
    r"\frac",
    r"\sqrt",
    r"\boxed{",
    r"\text{",
    r"\pm",
    r"\cup",
    r"\le",
    "<",
    "°",
    "√",
    "²",
    "or",
    "\\",
    "\n",
    "$",
]


@given(st.lists(st.sampled_from(MARKS), max_size=30).map("".join) | st.text(max_size=60))
def test_reading_raises_nothing_else(text):
    final_answer(text)
    with contextlib.suppress(UnreadableAnswerError):
        read_answer(text)


HOSTILE = [
    r"\boxed{",
    r"\boxed{}",
    r"\boxed{1} and ",
    "{",
    "}",
    "<answer>",
    "<answer></answer>",
    "answer is ",
    "$",
    r"\(",
]


@pytest.mark.parametrize("unit", HOSTILE)
def test_the_answer_is_found_in_linear_time(unit):
    start = time.process_time()
    final_answer(unit * (400_000 // len(unit)))
    assert time.process_time() - start < 5


LONG = [
    "1 ",
    "1 000 ",
    "1,000",
    "a-",
    "ab ",
    r"\text{a}",
    "^(",
    r"\frac1",
    r"\sqrt",
    "0.1(",
    "m/",
    "5 m per ",
    "²",
    "√",
    "(",
    "x<",
]


@pytest.mark.parametrize("unit", LONG)
def test_a_long_answer_is_read_at_once(unit):
    start = time.process_time()
    for front in ("", "5", "5 "):
        with contextlib.suppress(UnreadableAnswerError):
            read_answer((front + unit * 2000)[:2000])
    assert time.process_time() - start < 3
