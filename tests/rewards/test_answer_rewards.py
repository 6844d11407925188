"""The accuracy rewards: exact and mathematical answers, and what hostile text and bad input come to."""

import time
from collections import defaultdict
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from trl.rewards.accuracy_rewards import accuracy_reward

from corrpo.answers.checks import math as math_check
from corrpo.answers.reading import tagged_answer
from corrpo.answers.verdict import is_correct
from corrpo.answers.verifier import MathVerifier
from corrpo.errors import BadInputError, CorrpoError
from corrpo.rewards.task_rewards.exact_answer import exact_answer
from corrpo.rewards.task_rewards.math_answer import math_answer

TOWER = "9^(9^(9^9))"


def tagged(answer):
    return f"<think>ok, so</think><answer>{answer}</answer>"


def chat(text):
    return [{"role": "assistant", "content": text}]


def math(prediction, gold):
    (reward,) = math_answer([tagged(prediction)], answer=[gold])
    return reward


@pytest.fixture
def impatient(monkeypatch):
    """A verifier that waits two seconds, in the place of the shared one."""
    monkeypatch.setattr(math_check, "VERIFIER", MathVerifier(time_limit=2.0))


# Completions


def test_completions_of_either_form():
    parts = [{"type": "text", "text": "<answer>1"}, {"type": "image"}, {"type": "text", "text": "7</answer>"}]
    tools = [
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "content": "<answer>3</answer>"},
        {"role": "assistant", "content": tagged(17)},
    ]
    completions = [tagged(17), chat(tagged(17)), chat(parts), tools, [{"content": tagged(17)}], tools[:2], []]
    assert exact_answer(completions, answer=["17"] * 7) == [1, 1, 1, 1, 1, 0, 0]
    assert math_answer(completions, answer=["17"] * 7) == [1, 1, 1, 1, 1, 0, 0]


# Exact answers


@pytest.mark.parametrize(
    ("given", "right", "reward"),
    [
        ("191", "191", 1),
        (" 191\n", "191", 1),
        ("New\t York", "New York", 1),
        ("1,000", "1000", 1),
        ("7.0", "7", 1),
        ("+007", "7", 1),
        ("−3", "-3", 1),
        ("-0.0", "0", 1),
        (".5", "0.50", 1),
        ("1,00", "100", 0),
        ("1/2", "0.5", 0),
        ("191.", "191", 1),
        ("19l", "191", 0),
        ("paris", "Paris", 0),
        ("NewYork", "New York", 0),
        ("", "0", 0),
        (".", "0", 0),
        ("190", "191", 0),
        ("9" * 50_000 + ".0", "9" * 50_000, 1),
    ],
)
def test_exact_answers(given, right, reward):
    assert exact_answer([tagged(given), rf"\boxed{{{given}}}"], answer=[right] * 2) == [reward] * 2


def test_a_bare_number_is_no_answer():
    assert exact_answer(["191"], answer=["191"]) == [0.0]


@given(st.integers())
def test_a_whole_number_in_any_spelling(value):
    spellings = [str(value), f"{value:,}", f"{value}.00", f" {value} "]
    assert exact_answer([tagged(text) for text in spellings], answer=[str(value)] * 4) == [1.0] * 4
    assert math_answer([tagged(text) for text in spellings], answer=[str(value)] * 4) == [1.0] * 4
    assert exact_answer([tagged(value + 1)], answer=[str(value)]) == [0.0]
    assert math_answer([tagged(value + 1)], answer=[str(value)]) == [0.0]


# Mathematical answers


@pytest.mark.parametrize(
    ("prediction", "gold"),
    [
        ("17", "17"),
        ("17.0", "17"),
        ("2/4", "1/2"),
        (r"\frac{2}{4}", "1/2"),
        ("0.5", r"\frac{1}{2}"),
        ("1 1/2", "3/2"),
        ("1/2", r"$\frac{1}{2}$"),
        (r"\boxed{0.5}", "1/2"),
        ("x*x", "$x^2$"),
        ("1+x", "x + 1"),
        ("2^(1+n)", "2^{n+1}"),
        ("2pi", r"2\pi"),
        ("[1, 2)", "[1,2)"),
        (r"(-\infty, 3]", r"$(-\infty,3]$"),
        (r"\{2, 1\}", "{1,2}"),
        ("2, 1", r"\{1,2\}"),
        ("50%", "0.5"),
        ("3 apples", "3"),
        ("0.333333", "1/3"),
    ],
)
def test_equal_mathematics(prediction, gold):
    assert math(prediction, gold) == 1.0


@pytest.mark.parametrize(
    ("prediction", "gold"),
    [
        ("18", "17"),
        ("0.33", "1/3"),
        ("(2,1)", "(1,2)"),
        ("[1,2]", "[1,2)"),
        ("x^3", "$x^2$"),
        ("", "17"),
        ("seventeen", "17"),
        ("12 15", "27"),
        ("1/2+", "1"),
        (r"\frac{1", "1"),
    ],
)
def test_other_mathematics(prediction, gold):
    assert math(prediction, gold) == 0.0


@pytest.mark.parametrize("gold", [r"\frac{", "$$", "?"])
def test_a_gold_that_is_no_mathematics_is_left_out(gold):
    assert math_answer([tagged(gold), tagged("17")], answer=[gold, gold]) == [None, None]


BOXED = [
    *[("17", "$17$"), ("18", "$17$"), ("17.0", "$17$"), ("1,000", "$1000$"), ("-3", "$-3$"), ("3", "$-3$")],
    *[(r"\frac{1}{2}", "$0.5$"), ("1/2", r"$\frac12$"), (r"\frac{1}{3}", r"$\frac{1}{2}$"), ("0.5", "1/2")],
    *[("x^2", "$x^2$"), ("x^2+1", "$1+x^2$"), ("(x+1)^2", "$x^2+2x+1$"), ("x", "$y$"), ("2x", "$x+x$")],
    *[(r"\sqrt{8}", r"$2\sqrt{2}$"), (r"\sqrt{2}", "$1.41421356$"), (r"\pi", r"$\pi$"), ("3.14", r"$\pi$")],
    *[("[1,2)", "$[1,2)$"), ("(1,2)", "$[1,2)$"), (r"(-\infty,3]", r"$(-\infty, 3]$"), ("(2,1)", "$(1,2)$")],
    *[(r"\{1,2\}", r"$\{2,1\}$"), (r"\{1\}", r"$\{2,1\}$"), ("1,2", r"$\{1,2\}$"), ("x=5", "$5$")],
    *[("5", "$x=5$"), (r"6\text{ cm}", "$6$"), ("x<3", "$x<3$"), ("x>3", "$x<3$")],
    *[("2+3i", "$3i+2$"), (r"\sin(x)", r"$\sin x$"), (r"\text{A}", "$A$"), ("nonsense{", "$3$"), ("", "$3$")],
    *[(r"\begin{pmatrix}1&2\end{pmatrix}", r"$\begin{pmatrix}1&2\end{pmatrix}$"), ("17", r"\frac{")],
]


def test_boxed_answers_are_judged_as_by_trl():
    completions = [chat(rf"Adding up, \boxed{{{prediction}}}") for prediction, _ in BOXED]
    golds = [gold for _, gold in BOXED]
    expected = accuracy_reward(completions, solution=golds)
    assert len(BOXED) > 35
    assert {1.0, 0.0, None} == set(expected)
    assert math_answer(completions, answer=golds) == expected


@pytest.mark.parametrize(
    ("given", "gold", "reward"),
    [
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}", 1.0),
        ("2", r"\begin{pmatrix}1\\2\end{pmatrix}", 0.0),
        ("18.90", r"\$18.90", 1.0),
        ("1e-20", "2e-20", 0.0),
        (r"3\times 10^{-20}", r"2\times 10^{-20}", 0.0),
    ],
)
def test_matrices_money_and_tiny_numbers(given, gold, reward):
    assert math_answer([rf"\boxed{{{given}}}"], answer=[gold]) == [reward]


@settings(max_examples=6, deadline=None)
@given(st.fractions(max_denominator=99), st.fractions(max_denominator=99))
def test_a_fraction_in_any_form(value, other):
    top, bottom = value.numerator, value.denominator
    sign = "-" if top < 0 else ""
    forms = [f"{top}/{bottom}", rf"\frac{{{top}}}{{{bottom}}}", f"{2 * top}/{2 * bottom}"]
    forms += [rf"${sign}\frac{{{abs(top)}}}{{{bottom}}}$"]
    assert math_answer([tagged(form) for form in forms], answer=[str(value)] * 4) == [1.0] * 4
    same = abs(value - other) < Fraction(1, 10**5)
    assert math_answer([tagged(str(other))], answer=[str(value)]) == [float(same)]


# Failures


@pytest.mark.slow
def test_a_hostile_expression_costs_the_limit_and_is_counted(impatient, caplog):
    logged = defaultdict(list)
    golds = ["17"] * 8
    completions = [tagged(TOWER)] * 4 + [tagged("34/2"), tagged("17"), tagged("?"), "no answer"]
    before = time.monotonic()
    rewards = math_answer(
        completions, answer=golds, log_metric=lambda name, value: logged[name].append(value)
    )
    assert time.monotonic() - before < 20
    assert rewards == [0, 0, 0, 0, 1, 1, 0, 0]
    assert logged == {
        "accuracy/verifier_timeouts": [0.5],
        "accuracy/verifier_errors": [0.0],
        "accuracy/unparsed": [0.25],
        "accuracy/unreadable_golds": [0.0],
    }
    assert "failed on 4 of 8 answers, the first time by timeout" in caplog.text
    assert math("34/2", "17") == 1.0
    with pytest.raises(CorrpoError, match="timeout"):
        is_correct(tagged(TOWER), "17", "math")


HOSTILE = {
    "NUL": "\x00",
    "a lone surrogate": "\ud800",
    "1e5 digits": "9" * 100_000,
    "1e5 openings": "<answer>" * 12_000,
    "1e5 boxes": "\\boxed{" * 14_000,
    "1e5 braces": "{" * 50_000 + "}" * 50_000,
    "tags the wrong way round": "</answer>17<answer>",
    "deep roots": r"\sqrt{" * 300 + "17",
    "shell": "$(rm -rf /) `ls` __import__('os').system('ls')",
}


@pytest.mark.slow
def test_hostile_text_is_wrong_and_no_more(monkeypatch):
    monkeypatch.setattr(math_check, "VERIFIER", MathVerifier(time_limit=0.5))
    completions = [form for text in HOSTILE.values() for form in (text, tagged(text), rf"\boxed{{{text}}}")]
    golds = ["17"] * len(completions)
    before = time.monotonic()
    assert exact_answer(completions, answer=golds) == [0.0] * len(golds)
    assert time.monotonic() - before < 2
    assert math_answer(completions, answer=golds) == [0.0] * len(golds)


@given(st.text(st.characters(), min_size=1, max_size=100))
def test_any_text_comes_back_from_its_tags(text):
    assume("answer>" not in text and text.strip())
    assert tagged_answer(f"<answer>{text}</answer>") == text
    assert exact_answer([f"<answer>{text}</answer>"], answer=[text]) == [1.0]


# Bad input


@pytest.mark.parametrize("reward", [exact_answer, math_answer])
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (["17"], "1 answers for 2 completions"),
        (["17", None], "row 1 of 2: answer is None"),
        ([17, "17"], r"row 0 of 2: answer is 17 \(int\); expected the right answer as text"),
        (["17", "  "], "row 1 of 2: answer is '  '"),
    ],
)
def test_missing_answers_name_their_row(reward, answer, words):
    with pytest.raises(BadInputError, match=words):
        reward([tagged(17), tagged(17)], answer=answer)


def test_one_response_at_a_time_as_trl_calls_it():
    given = {"prompts": ["?"], "completions": [tagged(17)], "completion_ids": [[1]], "trainer_state": None}
    for reward in (exact_answer, math_answer):
        assert reward(
            **given, answer=["17"], log_extra=None, log_metric=lambda name, value: None, id=[3]
        ) == [1.0]
