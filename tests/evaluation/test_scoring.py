"""Scores: agreement with TRL's accuracy reward, counted failures, and accuracies equal to brute force."""

import random
from itertools import combinations

import polars as pl
import pytest
from trl.rewards.accuracy_rewards import accuracy_reward

from corrpo.answers.checks import math as math_check
from corrpo.answers.verifier import MathVerifier, Reply
from corrpo.evaluation import scoring
from corrpo.evaluation.scoring import counts, estimates, scores
from corrpo.evaluation.suites.load_suite import load_suite
from corrpo.evaluation.suites.suite import BOXED, Problem, Suite


def suite_of(golds, check="math"):
    problems = tuple(Problem(str(i), "?", gold) for i, gold in enumerate(golds))
    return Suite("made", "here", None, problems, check, BOXED)


def written_answers(count, seed=0):
    """Right and wrong answers in many forms, with their gold, as a model's responses."""
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        top, bottom = rng.randint(-60, 60), rng.choice([1, 1, 2, 4, 5, 8, 3, 7])
        gold = str(top) if bottom == 1 else rf"\frac{{{top}}}{{{bottom}}}"
        right = rng.random() < 0.6
        value = top if right else top + rng.choice([-1, 1, 10])
        forms = [
            rf"\frac{{{value}}}{{{bottom}}}",
            f"{value}/{bottom}",
            rf"\dfrac{{{2 * value}}}{{{2 * bottom}}}",
        ]
        if bottom in (1, 2, 4, 5, 8):
            forms += [f"{value / bottom:g}"]
        if bottom == 1:
            forms += [f"{value}", f"{value}.0", rf"{value}\text{{ cm}}", rf"x={value}", f"{value:,}"]
        answer = rng.choice(forms)
        response = rng.choice(
            [
                rf"First I add. So \boxed{{{answer}}}.",
                rf"\boxed{{{rng.randint(0, 9)}}} is a step; the answer is \boxed{{{answer}}}",
                rf"The final answer is $\boxed{{{answer}}}$. I hope it is correct.",
                rf"I get {answer}",
                "I cannot say.",
            ]
        )
        rows.append((response, gold))
    return rows


@pytest.mark.slow
def test_a_thousand_answers_are_judged_as_by_trl():
    """But for a box in a step before, which TRL takes for an item of a list with the last one."""
    rows = written_answers(1000)
    suite = suite_of([gold for _, gold in rows])
    scored = [score.correct for score in scores(suite, suite.problems, [text for text, _ in rows])]
    last = [text.rpartition("is a step; ")[2] for text, _ in rows]
    chats = [[{"role": "assistant", "content": text}] for text in last]
    expected = [
        reward == 1.0 for reward in accuracy_reward(chats, solution=[f"${gold}$" for _, gold in rows])
    ]
    differ = [row for row, ours, theirs in zip(rows, scored, expected, strict=True) if ours != theirs]
    assert differ == []
    assert 200 < sum(scored) < 800


def test_failures_of_the_verifier_are_verdicts_and_counted(monkeypatch):
    suite = suite_of(["1", "2", "3", "4", "never mind"])
    verdicts = ["right", "timeout", "error", "unparsed", "unreadable"]
    monkeypatch.setattr(
        scoring, "judge", lambda texts, golds, check: [Reply(verdict, "") for verdict in verdicts]
    )
    responses = [r"\boxed{1}", r"\boxed{2}", r"\boxed{3}", "none", r"\boxed{always}"]
    scored = scores(suite, suite.problems, responses)
    assert [score.correct for score in scored] == [True, False, False, False, False]
    table = pl.DataFrame(
        {
            "correct": [score.correct for score in scored],
            "verdict": [score.verdict for score in scored],
            "finished": [True, True, False, True, True],
            "n_tokens": [10, 20, 30, 40, 50],
        }
    )
    assert counts(table) == {
        "generations": 5,
        "correct": 1,
        "unfinished": 1,
        "unparsed": 1,
        "unreadable": 1,
        "verifier_timeouts": 1,
        "verifier_errors": 1,
        "mean_tokens": 30.0,
    }


@pytest.mark.slow
def test_an_answer_that_takes_too_long_is_stopped_and_those_beside_it_are_judged(monkeypatch):
    monkeypatch.setattr(math_check, "VERIFIER", MathVerifier(time_limit=2.0, workers=1))
    suite = suite_of(["1/2", "9^(9^(9^9))", "1/2", "17"])
    responses = [r"\boxed{0.5}", r"\boxed{17}", r"\boxed{1/3}", r"\boxed{9^{9^{9^{9}}}}"]
    scored = scores(suite, suite.problems, responses)
    assert [score.verdict for score in scored] == ["right", "timeout", "wrong", "timeout"]


def test_powers_of_ten_are_compared_by_their_value():
    golds = [r"3 \times 10^{8}"] * 3 + [r"1 \times 10^{-12}"] * 3
    given = [r"3\times 10^8", "300000000", r"3\times 10^7", "10^{-12}", r"2\times 10^{-12}", "0"]
    suite = suite_of(golds)
    scored = scores(suite, suite.problems, [rf"\boxed{{{answer}}}" for answer in given])
    assert [score.correct for score in scored] == [True, True, False, True, False, False]


def test_a_scorer_that_raises_is_an_error_that_is_counted_and_logged(caplog):
    suite = load_suite("rg:prime_factorization", problems=1)
    problem = suite.problems[0]
    scored = scores(suite, [problem] * 3, ["<answer>x</answer>", f"<answer>{problem.answer}</answer>", "x"])
    assert [score.verdict for score in scored] == ["error", "right", "unparsed"]
    assert "the scorer failed on 1 of 3 answers" in caplog.text
    assert "prime_factorization fails on 'x'" in caplog.text


def test_a_task_without_a_single_answer_is_scored():
    suite = load_suite("rg:graph_color", problems=1)
    assert [score.verdict for score in scores(suite, suite.problems, ["<answer>{}</answer>"])] == ["wrong"]


def test_a_response_is_read_behind_what_the_assistant_began():
    chat = [{"role": "user", "content": "?"}, {"role": "assistant", "content": r"So it is \boxed{"}]
    suite = suite_of(["42", "42"])
    problems = [Problem("0", chat, "42"), Problem("1", chat[:1], "42")]
    scored = scores(suite, problems, ["42}.", "42}."])
    assert [(score.answer, score.verdict) for score in scored] == [("42", "right"), (None, "unparsed")]


def test_an_answer_in_words_is_compared_as_text():
    suite = suite_of(["the empty set", "the empty set"])
    scored = scores(suite, suite.problems, [r"\boxed{the empty  set}", r"\boxed{a set}"])
    assert [score.verdict for score in scored] == ["right", "wrong"]


def test_tags_and_boxes_are_read_and_exact_means_the_same_text_or_number():
    suite = suite_of(["7", "7", "7", "7"], check="exact")
    responses = ["<answer>7.0</answer>", r"\boxed{7}", "7", "<answer>14/2</answer>"]
    scored = scores(suite, suite.problems, responses)
    assert [(score.answer, score.verdict) for score in scored] == [
        ("7.0", "right"),
        ("7", "right"),
        (None, "unparsed"),
        ("14/2", "wrong"),
    ]


def test_accuracies_equal_brute_force():
    rng = random.Random(0)
    right = [[rng.random() < chance for _ in range(6)] for chance in (0.0, 0.2, 0.5, 0.9, 1.0)]
    table = pl.DataFrame(
        {
            "problem": [str(i) for i in range(5) for _ in range(6)],
            "answer": ["7" if r else "8" for row in right for r in row],
            "correct": [r for row in right for r in row],
        }
    )
    result = estimates(suite_of(["7"] * 5, check="exact"), table, (1, 3, 6), 0.95)
    for k in (1, 3, 6):
        subsets = [[any(chosen) for chosen in combinations(row, k)] for row in right]
        assert result[f"pass@{k}"].value == pytest.approx(sum(sum(s) / len(s) for s in subsets) / 5)
    assert result["average@6"].value == result["pass@1"].value
    votes = [1.0 if sum(row) > 3 else 0.5 if sum(row) == 3 else 0.0 for row in right]
    assert result["majority@6"].value == pytest.approx(sum(votes) / 5)
    assert result["pass@1"].n_problems == 5


HOSTILE = ["\x00\x1b", "\ud800", "\\boxed{" * 5000, "{" * 1_000_000, "<answer>" * 2000, "\u202e\\boxed{1}"]


@pytest.mark.parametrize("check", ["math", "exact"])
def test_hostile_responses_are_wrong_and_nothing_breaks(check):
    suite = suite_of(["17"] * len(HOSTILE), check)
    assert not any(score.correct for score in scores(suite, suite.problems, HOSTILE))
