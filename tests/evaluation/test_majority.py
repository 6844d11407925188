r"""The vote of several generations: 1/2, 0.5 and \frac12 are one answer, and the order of them is nothing."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corrpo.answers.checks import math as math_check
from corrpo.answers.checks.exact import equal_as_text
from corrpo.answers.checks.math import equal_as_math
from corrpo.answers.verifier import MathVerifier
from corrpo.errors import BadInputError
from corrpo.evaluation.majority import majority_at_n

HALVES = ["1/2", "0.5", r"\frac12", r"\frac{2}{4}"]


def test_equal_forms_of_an_answer_vote_together():
    """Four forms of one half against three thirds: as text, 1/3 would have won."""
    answers = [*HALVES, "1/3", "1/3", "1/3"]
    right = [True] * 4 + [False] * 3
    assert majority_at_n(answers, right, equal_as_math) == 1.0
    assert majority_at_n(answers, right, equal_as_text) == 0.0


@pytest.mark.parametrize("one", HALVES)
@pytest.mark.parametrize("other", HALVES)
def test_equality_is_the_same_either_way_round(one, other):
    assert equal_as_math([(one, other), (other, "1/3"), ("1/3", other)]) == [True, False, False]


def test_answers_that_are_no_mathematics_are_the_same_only_as_text():
    pairs = [("Paris", " Paris "), ("Paris", "London"), ("", "0"), ("x+1", "1+x"), ("191", "98+93")]
    assert equal_as_math(pairs) == [True, False, False, True, True]


def test_nothing_is_asked_that_text_can_answer(monkeypatch):
    """Whole numbers that differ, equal text, and answers too long to be one."""
    monkeypatch.setattr(math_check, "VERIFIER", None)
    with pytest.raises(AttributeError):
        equal_as_math([("1/2", "0.5")])
    asked = []

    class Recorder:
        def ask(self, questions):
            asked.extend(questions)
            return []

    monkeypatch.setattr(math_check, "VERIFIER", Recorder())
    pairs = [("17", "18"), ("1,000", "1000.0"), (" x ", "x"), ("1/2", "+".join(["1"] * 2000))]
    assert equal_as_math(pairs) == [False, True, True, False]
    assert asked == []


def test_answers_that_take_too_long_vote_apart_and_the_log_says_so(monkeypatch, caplog):
    with caplog.at_level(logging.WARNING):
        monkeypatch.setattr(math_check, "VERIFIER", MathVerifier(time_limit=1.0, workers=1))
        assert majority_at_n(["1/2", "9^{9^{9^{9}}}"], [True, False], equal_as_math) == 0.5
    assert "math-verify failed on 1 of 1 pairs of answers" in caplog.text


def test_each_distinct_answer_is_compared_once_with_the_first_of_every_class():
    calls = []

    def same(pairs):
        calls.append(list(pairs))
        return equal_as_text(pairs)

    majority_at_n(["7", "8", "7.0", "7", "9", "7.0"], [True, False, True, True, False, True], same)
    assert calls == [[], [("7", "8")], [("7", "7.0"), ("8", "7.0")], [("7", "9"), ("8", "9")]]


@pytest.mark.parametrize(
    ("answers", "right", "value"),
    [
        (["7", "7", "8"], [True, True, False], 1.0),
        (["7", "8", "8"], [True, False, False], 0.0),
        (["7", "8"], [True, False], 0.5),
        (["7", "8", "9"], [False, True, False], 1 / 3),
        (["7", None, None, None], [True, False, False, False], 1.0),
        (["7", "", " "], [True, False, False], 1.0),
        ([None, None], [False, False], 0.0),
        ([], [], 0.0),
    ],
)
def test_the_most_votes_win_and_a_tie_is_a_fair_draw(answers, right, value):
    assert majority_at_n(answers, right, equal_as_text) == pytest.approx(value)


def test_a_verdict_that_differs_from_the_others_is_outvoted():
    assert majority_at_n(["0.5", "0.50", "0.500"], [True, False, True], equal_as_text) == 1.0
    assert majority_at_n(["0.5", "0.50", "0.500"], [True, False, False], equal_as_text) == 0.0
    assert majority_at_n(["0.5", "0.50"], [True, False], equal_as_text) == 0.0


@given(st.lists(st.sampled_from(["7", "7.0", "+7", "8", "8.00", "1/2", None])), st.randoms())
def test_the_order_of_the_generations_is_nothing(answers, random):
    """With an equality that is one: same_answer is reflexive, symmetric and transitive."""
    generations = [(answer, answer in ("7", "7.0", "+7")) for answer in answers]
    value = majority_at_n(*map(list, zip(*generations, strict=True)), equal_as_text) if generations else 0.0
    random.shuffle(generations)
    again = majority_at_n(*map(list, zip(*generations, strict=True)), equal_as_text) if generations else 0.0
    assert again == pytest.approx(value)
    assert 0 <= value <= 1


def test_verdicts_must_be_one_for_each_answer():
    with pytest.raises(BadInputError, match="1 verdicts for 2 answers"):
        majority_at_n(["7", "8"], [True], equal_as_text)
