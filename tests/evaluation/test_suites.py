"""Suites from files, the lab, reasoning-gym and the hub, and what is said of those that cannot be had."""

import json
import sys

import datasets
import pytest

from corrpo.errors import BadInputError, CorrpoError
from corrpo.evaluation.suites.benchmark import BENCHMARKS, find_benchmark
from corrpo.evaluation.suites.load_suite import load_suite
from corrpo.evaluation.suites.reasoning_gym_verifier import judge_gym

ROWS = {
    "gsm8k": {"question": "How many?", "answer": "Two and two are four.\n#### 1,004"},
    "math500": {"problem": "Solve.", "answer": "\\frac{1}{2}", "solution": "..."},
    "aime24": {"problem": "Find m+n.", "solution": "So the answer is \\boxed{033}."},
    "aime25": {"problem": "Find m+n.", "answer": "70"},
    "amc23": {"question": "Which?", "answer": 27.0},
    "minerva": {"question": "How far?", "answer": "3e8"},
    "olympiadbench": {"question": "Find all.", "final_answer": ["$1$", "$2$"], "context": "Let n be even."},
}
ANSWERS = {
    "gsm8k": "1,004",
    "math500": "\\frac{1}{2}",
    "aime24": "033",
    "aime25": "70",
    "amc23": "27.0",
    "minerva": "3 \\times 10^{8}",
    "olympiadbench": "$1$, $2$",
}


@pytest.fixture
def hub(monkeypatch):
    """A hub that has a row of each benchmark, and keeps what it was asked for."""
    asked = []

    def load_dataset(name, config=None, *, split, revision):
        asked.append((name, config, split, revision))
        suite = next(suite for suite in BENCHMARKS if find_benchmark(suite).dataset == name)
        return [ROWS[suite]] * 3

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_is_read_at_its_revision(hub, name):
    suite = load_suite(name)
    benchmark = find_benchmark(name)
    assert hub == [(benchmark.dataset, benchmark.config, benchmark.split, benchmark.revision)]
    assert [problem.answer for problem in suite.problems] == [ANSWERS[name]] * 3
    assert suite.check == "math"
    assert "\\boxed" in suite.prompt
    assert (suite.n == 16) == name.startswith("aime")


def test_every_benchmark_has_a_fixed_commit():
    assert all(len(find_benchmark(name).revision) == 40 for name in BENCHMARKS)


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        ("4.5e33", "4.5 \\times 10^{33}"),
        ("-1E-19", "-1 \\times 10^{-19}"),
        (".5e+07", ".5 \\times 10^{7}"),
        ("e^{2}", "e^{2}"),
        ("2e", "2e"),
        ("\\frac{3e8}{2}", "\\frac{3e8}{2}"),
        ("19000000", "19000000"),
    ],
)
def test_powers_of_ten_in_minerva_are_spelt_out_and_nothing_else_is_changed(monkeypatch, answer, read):
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: [{"question": "?", "answer": answer}])
    assert load_suite("minerva").problems[0].answer == read


def test_without_datasets_a_benchmark_of_the_hub_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    command = r"pip install -c constraints.txt '.\[train\]' in a checkout of corrpo"
    with pytest.raises(CorrpoError, match=rf"suite gsm8k .*{command}; or .*--data gsm8k="):
        load_suite("gsm8k")


def test_the_context_of_a_problem_stands_before_it(hub):
    assert load_suite("olympiadbench").problems[0].problem == "Let n be even.\nFind all."


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"problem": "x", "answer": ""}, "row 0: the answer is missing"),
        ({"problem": " ", "answer": "1"}, "row 0: the problem is empty"),
        ({"question": "x", "answer": "1"}, "has no column 'problem'; it has question, answer"),
        ({"problem": "x"}, "has no column 'answer'"),
    ],
)
def test_odd_rows_of_a_benchmark_are_named(monkeypatch, row, message):
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: [row])
    with pytest.raises(BadInputError, match=rf"suite math500, HuggingFaceH4/MATH-500 at .*{message}"):
        load_suite("math500")


def test_data_that_cannot_be_fetched_says_how_to_give_a_copy(monkeypatch, tmp_path):
    def unreachable(*_, **__):
        raise ConnectionError("Couldn't reach the hub\nand more")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(
        BadInputError, match=r"suite math500: cannot fetch .*reach the hub\. With.*--data math500="
    ):
        load_suite("math500")
    copy = tmp_path / "copy.jsonl"
    copy.write_text('{"problem": "1 + 1?", "answer": 2}\n')
    suite = load_suite("math500", data=copy)
    assert (suite.name, suite.problems[0].answer) == ("math500", "2")


def test_unknown_suites_and_tasks_are_reported_with_the_nearest():
    with pytest.raises(BadInputError, match=r"no suite 'maths500'; did you mean math500\?"):
        load_suite("maths500")
    with pytest.raises(BadInputError, match=r"no task 'chain_sums' .*did you mean chain_sum"):
        load_suite("rg:chain_sums")
    with pytest.raises(BadInputError, match="problems=0"):
        load_suite("lab:sums", problems=0)


def test_a_file_of_problems_and_answers(tmp_path):
    path = tmp_path / "mine.jsonl"
    lines = [{"problem": "1 + 1?", "answer": 2, "id": "a"}, {"prompt": "2 + 2?", "answer": "4"}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    suite = load_suite(str(path))
    assert suite.name == "mine"
    assert [(problem.id, problem.problem, problem.answer) for problem in suite.problems] == [
        ("a", "1 + 1?", "2"),
        ("1", "2 + 2?", "4"),
    ]
    path.write_text('{"problem": "1 + 1?", "answer": 2}\n{"problem": "3?"}\n')
    with pytest.raises(BadInputError, match=r"mine\.jsonl line 2: the answer is missing"):
        load_suite(str(path))


def test_a_digest_changes_with_a_problem_and_an_answer(tmp_path):
    digests = set()
    for problem, answer in (("1 + 1?", 2), ("1 + 1?", 3), ("1 + 2?", 3)):
        (tmp_path / "a.jsonl").write_text(json.dumps({"problem": problem, "answer": answer}))
        digests.add(load_suite(str(tmp_path / "a.jsonl")).digest)
    assert len(digests) == 3


def test_a_task_that_needs_settings_and_one_without_a_single_answer():
    with pytest.raises(BadInputError, match="cannot make problems of composite by its defaults"):
        load_suite("rg:composite", problems=1)
    assert load_suite("rg:graph_color", problems=1).problems[0].answer is None


def test_reasoning_gym_scores_by_its_own_scorer_and_only_in_full():
    suite = load_suite("rg:chain_sum", problems=3, seed=5)
    assert suite.check == "reasoning-gym"
    for problem in suite.problems:
        answers = [problem.answer, f"{problem.answer} or so", None]
        replies = judge_gym("chain_sum", answers, [problem.entry] * 3)
        assert [reply.verdict for reply in replies] == ["right", "wrong", "unparsed"]
    assert suite.digest == load_suite("rg:chain_sum", problems=3, seed=5).digest
    assert suite.digest != load_suite("rg:chain_sum", problems=3, seed=500).digest
