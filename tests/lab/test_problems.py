"""Problems, scratchpads and the verifier."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corrpo.lab.problems import (
    HELD_OUT_SIZE,
    Problem,
    direct_answer,
    extract_answer,
    held_out_problems,
    is_solved,
    scratchpad,
    training_problems,
    validation_problems,
)

NUMBERS = st.integers(0, 9999)


@st.composite
def problems(draw):
    """A sum of 2 to 4 terms with no negative partial sum."""
    terms = [draw(NUMBERS)]
    for _ in range(draw(st.integers(1, 3))):
        terms.append(draw(st.integers(-sum(terms), 9999)))
    expression = f"{terms[0]}" + "".join(f" {'-' if term < 0 else '+'} {abs(term)}" for term in terms[1:])
    return Problem(f"What is {expression}?", expression, str(sum(terms)))


@given(problems(), st.integers(0, 2**32))
def test_a_scratchpad_ends_in_the_verified_answer(problem, seed):
    text = scratchpad(problem, random.Random(seed))
    assert text.startswith("<think>")
    assert text.endswith(f"</think><answer>{problem.answer}</answer>")
    assert is_solved(text, problem.answer)


@given(problems(), st.integers(0, 2**32))
def test_every_equation_in_a_scratchpad_is_true(problem, seed):
    text = scratchpad(problem, random.Random(seed))
    equations = re.findall(r"(\d+)([-+]\d+)([-+]1)?=(\d+)", text)
    assert equations
    for first, second, carry, value in equations:
        assert int(first) + int(second) + int(carry or 0) == int(value)


@pytest.mark.parametrize("response", ["", "114", "<answer>115</answer>", "<answer></answer>", "<answer>114"])
def test_what_the_verifier_rejects(response):
    assert not is_solved(response, "114")


def test_the_verifier_reads_the_last_answer_and_gives_no_partial_credit():
    assert extract_answer("<answer>1</answer><answer> 114 </answer>") == "114"
    assert is_solved("<answer>1</answer><answer>114</answer>", "114")
    assert not is_solved("<answer>it is 114</answer>", "114")


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_training_validation_and_held_out_problems_are_disjoint(seed):
    held_out = {problem.key for problem in held_out_problems()}
    validation = {problem.key for problem in validation_problems(256)}
    training = {problem.key for problem in training_problems(3000, seed, validation=256)}
    assert (len(held_out), len(validation), len(training)) == (HELD_OUT_SIZE, 256, 3000)
    assert not held_out & validation
    assert not training & (held_out | validation)


def test_two_seeds_train_on_different_problems():
    first, second = ({p.key for p in training_problems(500, seed)} for seed in (0, 1))
    assert len(first & second) < 100


def test_reasoning_gyms_answer_is_the_sum_of_the_terms_and_is_solved_by_itself():
    for problem in held_out_problems(200):
        assert sum(problem.terms) == int(problem.answer) >= 0
        assert is_solved(direct_answer(problem), problem.answer)


def test_bad_counts_and_seeds_are_named():
    with pytest.raises(ValueError, match="1001"):
        held_out_problems(1001)
    with pytest.raises(ValueError, match="-1"):
        training_problems(1, -1)
