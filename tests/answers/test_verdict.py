"""The verdict on one response, by each check, and what is asked of no check."""

import sys

import pytest

from corrpo.answers.checks import CHECKS, find_check
from corrpo.answers.verdict import is_correct, judge
from corrpo.errors import BadInputError, CorrpoError


def tagged(answer):
    return f"<think>ok, so</think><answer>{answer}</answer>"


def test_one_response():
    assert is_correct(tagged("1,000"), "1000", "exact")
    assert is_correct(tagged("2/4"), "1/2", "math")
    assert not is_correct(tagged("2/4"), "1/2", "exact")
    assert is_correct(tagged("2/4"), "1/2")


def test_operators_alone_are_compared_as_they_stand():
    assert not is_correct(tagged("- *"), "* -")
    assert not is_correct(tagged("<"), ">")
    assert is_correct(tagged("* -"), "* -")
    assert is_correct(tagged("**+**"), "+")
    assert is_correct(tagged("\N{MINUS SIGN}"), "-")


def test_the_verdict_of_trl_reads_boxes_alone():
    assert is_correct(r"so \boxed{\frac{2}{4}}", r"$\frac{1}{2}$", "trl")
    assert not is_correct(r"so \boxed{\frac{1}{3}}", r"$\frac{1}{2}$", "trl")
    assert not is_correct(tagged("0.5"), r"$\frac{1}{2}$", "trl")
    with pytest.raises(BadInputError, match="is neither words nor mathematics"):
        is_correct(r"\boxed{Paris}", "?", "trl")


def test_without_trl_its_verdict_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "trl", None)
    with pytest.raises(CorrpoError, match=r"the check 'trl' needs trl, .* '\.\[train\]' in a checkout"):
        is_correct(r"\boxed{7}", "7", "trl")


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_says_what_it_means_judges_and_compares(name):
    check = find_check(name)
    assert check.meaning
    assert "\n" not in check.meaning
    verdicts = [reply.verdict for reply in judge([r"\boxed{7}", r"\boxed{8}"], ["7", "7"], name)]
    assert verdicts == ["right", "wrong"]
    assert check.equal([("7.0", "7"), ("7", "8")]) == [True, False]


def test_bad_input():
    with pytest.raises(BadInputError, match="answer '.*' is neither words nor mathematics"):
        is_correct(tagged("17"), r"\frac{1", "math")
    with pytest.raises(BadInputError, match="row 0 of 1: answer is ''"):
        is_correct(tagged("Paris"), "")


def test_an_unknown_check(no_shape_checks):
    with pytest.raises(BadInputError, match="check 'fuzzy' is unknown; expected one of exact, math"):
        no_shape_checks(is_correct)(tagged("17"), "17", "fuzzy")
