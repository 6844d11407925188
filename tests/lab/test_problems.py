"""Problems, scratchpads and the verifier."""

import random
import re
from itertools import pairwise

import pytest
import reasoning_gym  # here, as the first import takes longer than a test of hypothesis may
from hypothesis import given
from hypothesis import strategies as st

from corrpo.errors import BadInputError
from corrpo.lab.problems import (
    HELD_OUT_SIZE,
    direct_answer,
    extract_answer,
    held_out_problems,
    is_solved,
    read_in_training,
    scratchpad,
    training_problems,
    validation_problems,
)
from corrpo.lab.tasks import LAB_TASKS, find_lab_task
from corrpo.lab.tasks.sorting import SORTING, Sorting
from corrpo.lab.tasks.sums import LONG_SUMS, REWORDED_SUMS, Sum
from corrpo.lab.tokenizer import MAX_TOKENS, build_tokenizer

NUMBERS = st.integers(0, 9999)


@st.composite
def problems(draw):
    """A sum of 2 to 4 terms with no negative partial sum."""
    terms = [draw(NUMBERS)]
    for _ in range(draw(st.integers(1, 3))):
        terms.append(draw(st.integers(-sum(terms), 9999)))
    expression = f"{terms[0]}" + "".join(f" {'-' if term < 0 else '+'} {abs(term)}" for term in terms[1:])
    return Sum(f"What is {expression}?", expression, str(sum(terms)))


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
@pytest.mark.parametrize("task", LAB_TASKS.values(), ids=LAB_TASKS)
def test_training_validation_and_held_out_problems_are_disjoint(task, seed):
    held_out = {problem.key for problem in held_out_problems(task=task)}
    validation = {problem.key for problem in validation_problems(256, task)}
    training = {problem.key for problem in training_problems(3000, seed, validation=256, task=task)}
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


def test_reworded_sums_are_the_sums_in_words_that_no_checkpoint_learned():
    sums, reworded = (held_out_problems(300, find_lab_task(name)) for name in ("sums", "reworded-sums"))
    assert [problem.key for problem in sums] == [problem.key for problem in reworded]
    words = [{p.question.replace(p.expression, "{}") for p in posed} for posed in (sums, reworded)]
    assert list(map(len, words)) == [4, 4]
    assert not words[0] & words[1]
    assert {len(problem.terms) for problem in held_out_problems(300, LONG_SUMS)} == {4}


@given(st.lists(st.integers(10, 99), min_size=2, max_size=6, unique=True), st.booleans(), st.integers(0, 99))
def test_a_worked_sorting_picks_the_next_number_of_those_that_are_left(numbers, descending, seed):
    problem = Sorting("", tuple(numbers), descending)
    text = scratchpad(problem, random.Random(seed))
    assert is_solved(text, problem.answer)
    answer = [int(number) for number in problem.answer.split()]
    assert sorted(answer) == sorted(numbers)
    assert all((first > second) == descending for first, second in pairwise(answer))
    written = [int(number) for number in re.findall(r"\d+", problem.work(random.Random(seed)))]
    expected = []
    for place, picked in enumerate(answer[:-1]):
        expected += [*(number for number in numbers if number not in answer[:place]), picked]
    assert written == [*expected, answer[-1]]


def test_the_numbers_in_order_are_those_of_reasoning_gym():
    entries = reasoning_gym.create_dataset(SORTING.gym_task, seed=3, size=50, **SORTING.settings)
    posed = [(entry, SORTING.pose(entry, random.Random(0))) for entry in entries]
    kept = [(entry["metadata"], problem) for entry, problem in posed if problem is not None]
    assert len(kept) > 40
    for metadata, problem in kept:
        assert [float(number) for number in metadata["sorted_numbers"]] == [
            *map(float, problem.answer.split())
        ]
        assert metadata["direction"] in problem.question


@pytest.mark.parametrize("task", LAB_TASKS.values(), ids=LAB_TASKS)
def test_every_worked_problem_fits_the_context(task):
    tokenizer = build_tokenizer()
    for problem in read_in_training(500, task):
        text = problem.question + scratchpad(problem, random.Random(problem.question))
        assert len(tokenizer.encode(text)) + 3 <= MAX_TOKENS


def test_an_unknown_task_is_reported_with_those_there_are():
    with pytest.raises(BadInputError, match=r"'lab:texts': expected lab:sums, lab:reworded-sums"):
        find_lab_task("lab:texts")
    assert find_lab_task("lab:reworded-sums") is REWORDED_SUMS


def test_bad_counts_and_seeds_are_named():
    with pytest.raises(ValueError, match="1001"):
        held_out_problems(1001)
    with pytest.raises(ValueError, match="-1"):
        training_problems(1, -1)
