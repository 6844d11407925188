"""recipes/traces: solutions are right, slips in them are mended, and no split has another's problems."""

import json
import random
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from itertools import combinations

import pytest
import reasoning_gym
from hypothesis import given
from hypothesis import strategies as st

from commands import ROOT
from corrpo import is_correct
from corrpo.errors import BadInputError
from corrpo.evaluation.suites.load_suite import load_suite
from corrpo.rewards.task_rewards.think_answer_format import has_think_answer_format
from corrpo.samples import load_samples
from corrpo.training.data import Source, load_prompts, load_traces
from corrpo.training.recipe import RecipeArguments
from reasoning_traces import TASKS, splits
from reasoning_traces.claims import check_claims, claims_of, value_of
from reasoning_traces.countdown import WORDS
from reasoning_traces.pen import Pen, shown
from reasoning_traces.splits import LENGTHS, SPLITS, as_chat, completion, make_splits
from reasoning_traces.task import Worked

SCRIPT = ROOT / "recipes" / "traces" / "make_traces.py"
ENTRIES = 60
operands = st.integers(-5000, 5000)


@cache
def entries(task, length):
    return reasoning_gym.create_dataset(task, seed=900, size=ENTRIES, **TASKS[task].settings[length])


@st.composite
def solutions(draw, slips=None):
    """A task, an entry of it, and the worked solution."""
    task, length = draw(st.sampled_from(sorted(TASKS))), draw(st.sampled_from(sorted(LENGTHS)))
    share = draw(st.sampled_from([0.0, 0.3, 1.0])) if slips is None else slips
    entry = entries(task, length)[draw(st.integers(0, ENTRIES - 1))]
    worked = TASKS[task].work(
        entry, Pen(random.Random(draw(st.integers(0, 9999))), share, draw(st.floats(0, 1)))
    )
    return task, entry, worked


def wanted(task, entry, answer):
    """Whether an answer is the task's, found without the code that wrote it."""
    told = entry["metadata"]
    if task == "knights_knaves":
        roles = [told["knight_knave_terms"]["knight" if truth else "knave"] for truth in told["solution"]]
        return answer == ", ".join(roles)
    if task == "countdown":
        value, *rest = told["numbers"]
        signs = {word: sign for sign, word in WORDS.items()}
        for word, number in zip(answer.split(", "), rest, strict=True):
            value = value_of(f"{value} {signs[word]} {number}")
        return value == told["target"]
    return float(answer) == float(entry["answer"])


@given(solutions())
def test_a_worked_solution_ends_with_the_answer_and_mends_what_went_wrong(solution):
    task, entry, worked = solution
    if worked is None:
        return
    TASKS[task].check(worked.thought, entry)
    assert wanted(task, entry, worked.answer)
    written = completion(worked)
    assert has_think_answer_format(written)
    assert is_correct(written, worked.answer)
    assert is_correct(written, worked.answer, check="exact")


@given(solutions(slips=0.0), st.integers(1, 50), st.randoms(use_true_random=False))
def test_a_claim_that_is_made_false_is_found_out(solution, error, rng):
    task, entry, worked = solution
    if worked is None or task == "knights_knaves":
        return
    claims = list(claims_of(worked.thought))
    claim = rng.choice([one for one in claims if one.right.lstrip("-").isdigit()])
    wrong = f"{claim.left} = {int(claim.right) + error}"
    spoilt = " ".join(
        f"{one.left} = {one.right}." if one.left != claim.left else f"{wrong}." for one in claims
    )
    with pytest.raises(ValueError, match="is false and not mended"):
        TASKS[task].check(spoilt, entry)


@given(solutions(slips=0.0))
def test_a_word_that_is_misjudged_is_found_out(solution):
    task, entry, worked = solution
    if task != "knights_knaves":
        return
    for spoilt, message in (
        (worked.thought.replace("says is true", "says is FALSE", 1).replace("FALSE", "false"), "misjudged"),
        (
            worked.thought[: worked.thought.rindex("[")] + "All of it fits.",
            "given up or kept|not the solution",
        ),
    ):
        if spoilt != worked.thought:
            with pytest.raises(ValueError, match=message):
                TASKS[task].check(spoilt, entry)


@given(operands, st.sampled_from("+-*"), operands, st.integers(0, 99))
def test_a_slip_is_noticed_and_a_check_confirms(left, operator, right, seed):
    expression = f"{left} {operator} {shown(right)}"
    slipped = Pen(random.Random(seed), slips=1, checks=0).step(left, operator, right)
    first, *_, last = claims_of(slipped)
    assert first.left == last.left == expression
    assert not first.is_true
    assert last.is_true
    check_claims(slipped)
    checked = Pen(random.Random(seed), slips=0, checks=1).step(left, operator, right)
    assert all(claim.is_true for claim in claims_of(checked))
    assert next(claims_of(checked)).left == expression


def test_claims_with_units_and_what_cannot_be_read():
    assert [claim.left for claim in claims_of("9 puzzles * $10 = $90 on puzzles, 3 + 4 - 2 = 5.")] == [
        "9 * 10",
        "3 + 4 - 2",
    ]
    for text in ("half * 186 ladybugs = 93", "T = 3", "2(27+21) = 96"):
        with pytest.raises(ValueError, match="can be read"):
            list(claims_of(text))
    with pytest.raises(ValueError, match=r"1 / 0 = 3 is false"):
        check_claims("1 / 0 = 3")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("traces") / "out"
    sizes = ["--train", "70", "--validation", "14", "--test", "21"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--output", str(folder), *sizes],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(folder)
    return folder


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_no_problem_is_in_two_splits_and_the_tasks_come_in_turn(made):
    rows = {split: rows_of(made / f"{split}.jsonl") for split in SPLITS}
    assert {split: len(read) for split, read in rows.items()} == {"train": 70, "validation": 14, "test": 21}
    for one, other in combinations(SPLITS, 2):
        assert not {row["prompt"] for row in rows[one]} & {row["prompt"] for row in rows[other]}
    assert [row["task"] for row in rows["train"][:8]] == [*TASKS, next(iter(TASKS))]
    assert all(row["split"] == split for split in SPLITS for row in rows[split])
    record = json.loads((made / "traces.json").read_text())
    assert record["files"]["train.jsonl"]["rows"] == dict.fromkeys(TASKS, 10)


@pytest.mark.parametrize(
    ("task", "kept"), [("simple_equations", r"-?\d+|[-+*=]"), ("gsm_symbolic", r"(?<!\w)[^\sA-Z]\S*")]
)
def test_another_letter_or_name_does_not_make_another_problem(task, kept):
    splits = make_splits({"train": 300, "validation": 30, "test": 30}, [task], "brief", 0)
    problems = [row["prompt"] for rows in splits.values() for row in rows]
    assert len({" ".join(re.findall(kept, problem)) for problem in problems}) == len(problems)


def test_a_seed_gives_the_same_rows_and_the_test_set_does_not_depend_on_the_others(made):
    again = make_splits({"train": 7, "validation": 7, "test": 21}, list(TASKS), "short", 0)
    assert again["test"] == rows_of(made / "test.jsonl")
    assert again["train"][0]["prompt"] not in {row["prompt"] for row in again["test"]}
    other = make_splits({"train": 7, "validation": 7, "test": 21}, list(TASKS), "short", 1)
    assert not {row["prompt"] for row in other["test"]} & {row["prompt"] for row in again["test"]}


def test_training_evaluation_and_measurement_read_the_files(made):
    train = Source(str(made / "train.jsonl"), "train")
    assert load_traces(train, chat=False).column_names == ["prompt", "completion"]
    recipe = RecipeArguments(model="lab:qwen2/base", dataset=train.name, rewards=["exact", "format"])
    assert load_prompts(train, recipe, chat=False).column_names == ["prompt", "answer"]
    suite = load_suite(str(made / "test.jsonl"))
    assert suite.problems[0].id == "gsm_symbolic-0"
    given_responses, own = (load_samples(made / name) for name in ("test.jsonl", "test_prompts.jsonl"))
    assert all(sample.response and sample.answer for sample in given_responses)
    assert all(sample.response is None for sample in own)
    assert [sample.prompt for sample in own] == [sample.prompt for sample in given_responses]


def test_rows_as_chats_are_read_in_the_same_way(tmp_path):
    rows = make_splits({"train": 7, "validation": 7, "test": 7}, list(TASKS), "short", 0)["train"]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(as_chat(row)) + "\n" for row in rows))
    train = Source(str(path), "train")
    assert load_traces(train, chat=True)["completion"][0][0]["content"] == rows[0]["completion"]
    recipe = RecipeArguments(model="lab:qwen2/base", dataset=str(path), rewards=["exact", "format"])
    assert load_prompts(train, recipe, chat=True)["prompt"][0][0]["role"] == "user"
    assert load_suite(str(path)).problems[0].answer == rows[0]["answer"]
    assert load_samples(path)[0].response == rows[0]["completion"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tasks", "chess"], "expected tasks out of gsm_symbolic"),
        (["--test", "3"], "a row of each task"),
        (["--seed", "-1"], "a seed of 0 or more"),
    ],
)
def test_settings_that_make_no_traces_are_refused_in_one_line(tmp_path, words, message):
    command = [sys.executable, str(SCRIPT), "--output", str(tmp_path / "out"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_refused(tmp_path):
    (tmp_path / "mine.txt").touch()
    command = [sys.executable, str(SCRIPT), "--output", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == f"make_traces.py: {tmp_path} is not empty; give another folder\n"


def test_a_task_without_that_many_problems_is_told_and_not_sought_for_ever(monkeypatch):
    same = Worked("What is 1 + 1?", "2", "1 + 1 = 2.", "1 + 1")
    few = replace(TASKS["chain_sum"], work=lambda entry, pen: same)
    monkeypatch.setitem(splits.TASKS, "chain_sum", few)
    with pytest.raises(BadInputError, match="no more than 1 different problems of length brief"):
        make_splits({"train": 2, "validation": 1, "test": 1}, ["chain_sum"], "brief", 0)
