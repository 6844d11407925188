"""Scorers of reasoning-gym that wrong answers pass are refused or repaired; none hangs or runs an answer."""

import time
from pathlib import Path

import pytest
import reasoning_gym

from corrpo.errors import BadInputError
from corrpo.evaluation.scoring import scores
from corrpo.evaluation.suites import load_suite as suites
from corrpo.evaluation.suites.reasoning_gym_scorers import EXACT, FORMS, REFUSED
from corrpo.evaluation.suites.reasoning_gym_verifier import GymQuestion, GymVerifier, judge_gym
from gym_scorers import OWN, TASKS, corrpo_replies, right_answer, right_ones, trials, what_is_done

ANOTHER_RIGHT_ONE = {
    "cryptarithm": {"off by one"},
    "graph_color": {"off by one", "another's"},
    "decimal_arithmetic": {"off by one"},
    "power_function": {"off by one"},
}
"""By task, answers tried as wrong that may be right: several solutions, or digits past those asked."""
NOT_WORKED_OUT = {"intermediate_integration"}
"""Tasks that give an integral sign as their own answer to some problems."""


def assert_only_right_answers_are_right(task, problems):
    tried = trials(task, problems)
    right = right_ones(tried, corrpo_replies(task, tried))
    own = right.pop(OWN, 0)
    assert set(right) <= ANOTHER_RIGHT_ONE.get(task, set())
    if task not in NOT_WORKED_OUT:
        assert own == sum(trial.name == OWN for trial in tried)


@pytest.mark.parametrize("task", sorted(EXACT))
def test_a_check_of_ours_passes_the_right_answer_and_no_wrong_one(task):
    assert_only_right_answers_are_right(task, 5)


@pytest.mark.slow
@pytest.mark.parametrize("task", sorted(set(TASKS) - set(EXACT) - set(REFUSED)))
def test_no_other_task_passes_a_wrong_answer(task):
    assert_only_right_answers_are_right(task, 5)


def entry_of(answer, **metadata):
    return {"question": "", "answer": answer, "metadata": metadata}


PRODUCT = entry_of("1.50000000002")
PRODUCT["question"] = "Please solve this.\n(3.0/2.0) = ?"
COIN = entry_of("0.109375", rational={"numerator": 28, "denominator": 256})
RARE = entry_of("3.051757812e-05", rational={"numerator": 1, "denominator": 32768})
SORT = entry_of("['1.0', '2.5']", sorted_numbers=["1.0", "2.5"])
MAKE = entry_of("8*(5*1 - 2)", numbers=[5, 1, 2, 8])
REACH = entry_of("100*9 - 7/1", numbers=[100, 9, 7, 1], target=893)
LARGEST = entry_of("9.4999", candidates=[1.0, 9.4999], solution=9.4999, formatted_candidates=["1", "9.500"])
POOL = entry_of("3.0 5.22\n4.67 3.67")
FRACTION = entry_of("$\\dfrac{1}{3}$", simplified_numerator=1, simplified_denominator=3)
DAYS = entry_of("5 days", task_type="date")
CLOCK = entry_of("06:09", task_type="time")
MILLISECONDS = entry_of("00:00:01.005", task_type="time_ms")
LIFE = entry_of("[[0,1],[1,0]]")
ROOTS, NO_ROOTS = (entry_of(answer) for answer in ("-0.04, 0.0", ""))
ROLES = entry_of("Ann is a knight, and Bob is a knave.")


@pytest.mark.parametrize(
    ("task", "entry", "right", "wrong"),
    [
        (
            "coin_flip",
            COIN,
            ["0.109375", "7/64", "28/256", "0.1094"],
            ["0", "0.11", "0.1093", "1/0", "7/64 or so"],
        ),
        ("coin_flip", RARE, ["3.051757812e-05", "3.0518e-5", "1/32768"], ["0", "0.0", "1e999999999", "NaN"]),
        (
            "countdown",
            REACH,
            ["9*100 - 7*1"],
            ["900 - 7", "100*9-7", "893", "9*100-7/1 or 1", "9**100", "(" * 900],
        ),
        (
            "decimal_arithmetic",
            PRODUCT,
            ["1.50000000002", "1.5", "1.500"],
            ["1.50000000001", "1.5 or 2", "x"],
        ),
        ("fraction_simplification", FRACTION, ["1/3", r"\frac{1}{3}"], ["2/6", r"\frac{1}{3} + 1", "1/3/1"]),
        (
            "game_of_life",
            LIFE,
            ["[[0, 1], [1, 0]]"],
            ["[[0,1],[1,0],[1,1]]", "[[0,1,1],[1,0]]", "[", "[" * 9999],
        ),
        ("game_of_life_halting", entry_of("False"), ["False", "false"], ["True", "", "zzz", "not False"]),
        ("gsm_symbolic", entry_of("28080"), ["28,080", "28080.0"], ["-28080", "28", "28080 or 44"]),
        (
            "knights_knaves",
            ROLES,
            ["Bob is a knave and Ann is a knight"],
            ["Ann is a knight", "Ann is a knave"],
        ),
        (
            "letter_jumble",
            entry_of("and may not be"),
            ["And may not be"],
            ["and may not be zzz", "and may not"],
        ),
        ("number_format", LARGEST, ["9.5", "9.4999"], ["9.499", "1", "", "9.5 1"]),
        (
            "number_sorting",
            SORT,
            ['["1.0", "2.5"]', "[1, 2.5]"],
            ["['1.0', '2.6']", "[1]", "[true, 2.5]", "1, 2.5"],
        ),
        ("polynomial_equations", ROOTS, ["0, -0.04"], ["0", "0, -0.04, 1", "zzz, 0, -0.04"]),
        ("polynomial_equations", NO_ROOTS, ["", '""'], ["zzz", "0", "none at all"]),
        (
            "pool_matrix",
            POOL,
            ["3 5.22\n4.67 3.67"],
            ["3 5.23\n4.67 3.67", "3 5.22 4.67 3.67", "[[3, 5.22]]"],
        ),
        ("puzzle24", MAKE, ["(5*1-2)*8"], ["(1+2+3)*4", "24", "8*(5*1-2) if 1 else 0", "8*5-2*8", "-24"]),
        ("spell_backward", entry_of("citoreteh"), ["citoreteh"], ["citoretehs", "citoreteh zzz"]),
        ("time_intervals", DAYS, ["5 days", "5"], ["5 hours", "6 days", "5 days zzz", ""]),
        ("time_intervals", CLOCK, ["6:09", "06:09:00"], ["06:10", "6", "09:06"]),
        ("time_intervals", MILLISECONDS, ["0:00:01.005"], ["00:00:01.5", "00:00:01"]),
    ],
)
def test_answers_that_were_right_to_reasoning_gym_and_others(task, entry, right, wrong):
    assert [EXACT[task](answer, entry) for answer in right] == [True] * len(right)
    assert [EXACT[task](answer, entry) for answer in wrong] == [False] * len(wrong)


@pytest.mark.parametrize("task", ["binary_matrix", "n_queens", "spiral_matrix", "string_insertion", *FORMS])
def test_no_answer_is_run(task, tmp_path):
    made = tmp_path / "made"
    entry = reasoning_gym.create_dataset(task, size=1, seed=0)[0]
    runs = [
        f"__import__('pathlib').Path({str(made)!r}).touch()",
        f"open({str(made)!r}, 'w')",
        f"{right_answer(task, entry)} or open({str(made)!r}, 'w')",
    ]
    assert [reply.verdict for reply in judge_gym(task, runs, [entry] * 3)] == ["wrong"] * 3
    assert not made.exists()


@pytest.mark.parametrize(
    ("answer", "right", "wrong"),
    [
        ("true", ["true"], ["1", "1.0"]),
        ("0", ["0", "0.0"], ["false"]),
        ('{"a": [false, 1]}', ['{"a":[false,1.0]}'], ['{"a": [0, 1]}', '{"a": [false, true]}']),
    ],
)
def test_true_and_false_are_no_numbers_in_json(answer, right, wrong):
    answers = right + wrong
    verdicts = [reply.verdict for reply in judge_gym("codeio", answers, [entry_of(answer)] * len(answers))]
    assert verdicts == ["right"] * len(right) + ["wrong"] * len(wrong)


def test_an_integral_is_to_be_worked_out():
    entry = entry_of("x**3/3 + C", integrand="x**2", variable="x")
    answers = ["x**3/3 + C", "C + x*x**2/3", "Integral(x**2, x) + C", "integrate(x**2, x)", "x**3/4 + C"]
    for task in ("simple_integration", "intermediate_integration"):
        verdicts = [reply.verdict for reply in judge_gym(task, answers, [entry] * len(answers))]
        assert verdicts == ["right", "right", "wrong", "wrong", "wrong"]


@pytest.mark.slow
def test_a_scorer_that_takes_too_long_or_too_much_memory_is_stopped():
    verifier = GymVerifier(time_limit=2.0, workers=1)
    integral = entry_of("x + C", integrand="1", variable="x")
    cube = reasoning_gym.create_dataset("rubiks_cube", size=1, seed=0)[0]
    simple = reasoning_gym.create_dataset("chain_sum", size=1, seed=0)[0]
    verifier.ask([GymQuestion("chain_sum", "0", simple)])
    began = time.monotonic()
    replies = verifier.ask(
        [
            GymQuestion("simple_integration", "9**9**9*x + C", integral),
            GymQuestion("rubiks_cube", "F999999999", cube),
            GymQuestion("chain_sum", simple["answer"], simple),
        ]
    )
    assert {reply.verdict for reply in replies[:2]} <= {"timeout", "error", "wrong"}
    assert replies[0].verdict == "timeout"
    assert replies[2].verdict == "right"
    assert time.monotonic() - began < 60


def test_a_task_without_verdicts_to_rely_on_is_refused():
    assert set(REFUSED) <= set(TASKS) - set(EXACT) - set(FORMS)
    for task in REFUSED:
        with pytest.raises(BadInputError, match=f"the task {task} .*full score; use rg:"):
            suites.load_suite(f"rg:{task}", problems=1)


@pytest.mark.parametrize(
    ("task", "answer"), [("game_of_life_halting", "zzz"), ("coin_flip", "0"), ("puzzle24", "(1+2+3)*4")]
)
def test_one_text_is_not_right_for_every_problem_of_a_suite(task, answer):
    suite = suites.load_suite(f"rg:{task}", problems=20, seed=5)
    found = scores(suite, suite.problems, [f"<answer>{answer}</answer>"] * 20)
    assert not any(score.correct for score in found)


def test_the_page_has_every_task_and_what_is_done_with_it():
    page = (Path(__file__).parents[2] / "docs/SCORERS.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page if line.startswith("| ")]
    done = {row[0]: row[-1] for row in rows if len(row) == 6}
    assert set(done) - {"task"} - {row[0] for row in rows if row[0].startswith("-")} == set(TASKS)
    assert {task: done[task] for task in TASKS} == {task: what_is_done(task) for task in TASKS}
