"""`corrpo evaluate` as it is typed: its table, what it says of failures, and what it refuses."""

import json
from itertools import combinations

import polars as pl
import pytest

from corrpo.cli.main import main
from corrpo.evaluation.results import load_evaluations

MODEL = "lab:qwen2/reasoning"
SUMS = {"12 + 13": 25, "40 + 2": 42, "7 + 8": 15}


@pytest.fixture
def problems(tmp_path):
    path = tmp_path / "sums.jsonl"
    rows = [{"problem": f"What is {sum_}?", "answer": answer} for sum_, answer in SUMS.items()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.slow
def test_a_table_of_models_and_suites_whose_numbers_follow_from_the_generations(tmp_path, problems, capsys):
    words = ["evaluate", f"r={MODEL}", "base=lab:qwen2/base", "--suite", str(problems), "lab:sums"]
    words += ["--n", "4", "--k", "1", "2", "4", "--problems", "3", "--temperature", "1"]
    words += ["--max-new-tokens", "80", "--prompt", "{problem}", "--output", str(tmp_path / "out")]
    assert main(words) == 0
    output = capsys.readouterr()
    assert {"r", "base"} <= {line.split()[0] for line in output.out.splitlines() if line.strip()}
    assert output.out.rstrip().endswith("evaluations.parquet")
    assert "r: evaluated" in output.err
    result = load_evaluations(tmp_path / "out")
    assert {(evaluation.checkpoint["key"], evaluation.suite["name"]) for evaluation in result} == {
        (key, suite) for key in ("r", "base") for suite in ("sums", "lab:sums")
    }
    for evaluation in result:
        rows = evaluation.generations.group_by("problem").agg("correct")["correct"].to_list()
        for k in (1, 2, 4):
            chosen = [any(subset) for row in rows for subset in combinations(row, k)]
            assert evaluation.estimates[f"pass@{k}"].value == pytest.approx(sum(chosen) / len(chosen))
    table = pl.read_parquet(tmp_path / "out" / "evaluations.parquet")
    assert table.height == sum(len(evaluation.estimates) for evaluation in result)


def test_generations_that_did_not_end_or_answer_are_reported_beneath(tmp_path, problems, capsys):
    words = ["evaluate", f"r={MODEL}", "--suite", str(problems), "--max-new-tokens", "2"]
    assert main([*words, "--output", str(tmp_path / "out")]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "of 3 generations 3 did not end, 3 have no answer that can be read; all count as wrong" in output


def test_other_settings_are_refused_by_name_and_the_results_stay(tmp_path, problems, capsys):
    words = ["evaluate", f"r={MODEL}", "--suite", str(problems), "--max-new-tokens", "5"]
    words += ["--output", str(tmp_path / "out")]
    assert main(words) == 0
    assert main([*words, "--temperature", "0.9"]) == 1
    assert "settings.temperature was 0.6, now 0.9" in capsys.readouterr().err
    assert len(load_evaluations(tmp_path / "out")) == 1


@pytest.mark.parametrize(
    ("suite", "more", "message"),
    [
        ("maths500", [], "no suite 'maths500'; did you mean math500?"),
        ("rg:chain_sums", [], "did you mean chain_sum"),
        ("nowhere.jsonl", [], "nowhere.jsonl"),
        ("math500", ["--data", "gsm8k=x.jsonl"], "--data gsm8k=x.jsonl: expected SUITE=FILE.jsonl"),
        ("math500", ["--data", "math500"], "--data math500: expected SUITE=FILE.jsonl"),
        ("math500", ["--data", "math500=nowhere.jsonl"], "nowhere.jsonl"),
        ("lab:sums", ["--k", "8"], "give --n 8"),
    ],
)
def test_what_cannot_be_done_is_reported_and_no_model_loaded(
    tmp_path, capsys, monkeypatch, suite, more, message
):
    monkeypatch.setattr("corrpo.evaluation.checkpoint_evaluation.open_backend", None)
    output = tmp_path / "out"
    assert main(["evaluate", MODEL, "--suite", suite, "--output", str(output), *more]) == 1
    assert message in capsys.readouterr().err
    assert not output.exists()


def test_an_option_out_of_its_range_is_a_command_line_that_cannot_be_read(tmp_path, capsys):
    words = ["evaluate", MODEL, "--suite", "lab:sums", "--output", str(tmp_path), "--prompt", "Solve it."]
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert "must have {problem} in it" in capsys.readouterr().err


def test_a_benchmark_that_cannot_be_fetched_names_it_and_a_local_copy_does(tmp_path, capsys, monkeypatch):
    import datasets

    def unreachable(*_, **__):
        raise ConnectionError("the hub cannot be reached")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    words = ["evaluate", MODEL, "--suite", "aime24", "--output", str(tmp_path / "out")]
    assert main(words) == 1
    error = capsys.readouterr().err
    assert "suite aime24: cannot fetch math-ai/aime24 at 83a7f387" in error
    assert "--data aime24=FILE.jsonl" in error
    copy = tmp_path / "copy.jsonl"
    copy.write_text(json.dumps({"problem": "What is 3 + 4?", "answer": 7}) + "\n")
    assert main([*words, "--data", f"aime24={copy}", "--max-new-tokens", "20"]) == 0
    (result,) = load_evaluations(tmp_path / "out")
    assert result.suite["name"] == "aime24"
    assert result.generations.height == 16
    assert {"pass@1", "pass@16", "average@16", "majority@16"} == set(result.estimates)


def test_rows_that_are_not_problems_are_named_by_file_and_line(tmp_path, capsys):
    path = tmp_path / "odd.jsonl"
    path.write_text('{"problem": "1 + 1?", "answer": "2"}\n{"problem": "2 + 2?", "answer": null}\n')
    assert main(["evaluate", MODEL, "--suite", str(path), "--output", str(tmp_path / "out")]) == 1
    assert "odd.jsonl line 2: the answer is missing" in capsys.readouterr().err


def test_why_the_one_model_cannot_be_read_is_told_once(tmp_path, problems, capsys):
    model = tmp_path / "text.gguf"
    model.write_text("hello, this is no model at all\n" * 9)
    words = ["evaluate", str(model), "--suite", str(problems), "--output", str(tmp_path / "out")]
    assert main(words) == 1
    assert capsys.readouterr().err.count("is no GGUF file") == 1
