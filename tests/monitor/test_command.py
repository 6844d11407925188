"""`corrpo monitor` over files: calibrate, judge, bad lines, and going on where it was stopped."""

import json

import polars as pl
import pytest

from corrpo.cli.main import main
from corrpo.monitor import Calibration
from corrpo.monitor.generation_file import judge_file
from corrpo.monitor.monitor import Monitor

MODEL = "lab:qwen2/base"


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    path = tmp_path_factory.mktemp("labelled") / "labelled.jsonl"
    lines = [
        {"prompt": f"What is {n} + {m}?", "response": f"<answer>{n + m}</answer> and {text}", "low": low}
        for n in range(10, 32)
        for m, low, text in ((n, False, f"{n} is a number"), (1, True, "aa bb cc dd"))
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def calibration(labelled):
    output = labelled.with_name("cal.json")
    words = ["--calibrate", str(labelled), "--output", str(output), "--side", "high"]
    assert main(["monitor", MODEL, *words]) == 0
    return output


def test_a_calibration_is_written_with_what_it_holds_for(calibration):
    result = Calibration.load(calibration)
    assert (result.side, result.rate, result.facts["normal_prompts"]) == ("high", 0.05, 22)
    assert result.settings["projections"] == ["q", "o"]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--grace", "inf"), "grace=inf: expected a number of seconds, 0 or more"),
        (("--grace", "nan"), "grace=nan: expected a number of seconds"),
        (("--grace", "-1"), "grace=-1.0: expected a number of seconds"),
        (("--seed", "-1"), "seed=-1: expected a whole number"),
    ],
)
def test_numbers_out_of_range_are_told_before_a_model_is_loaded(option, words, monkeypatch, capsys):
    monkeypatch.setattr("corrpo.models.loading.load_model", None)
    assert main(["monitor", MODEL, "--serve", *option]) == 1
    assert words in capsys.readouterr().err


def test_a_file_is_judged_and_another_model_refused(labelled, calibration, tmp_path, capsys):
    words = ["--generations", str(labelled), "--calibration", str(calibration), "--output"]
    assert main(["monitor", MODEL, *words, str(tmp_path / "out.jsonl")]) == 0
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(records) == 44
    normal = [record for record in records if record["line"] % 2]
    assert sum(record["flag"] for record in normal) <= 1
    assert not list(tmp_path.glob("*.partial"))
    assert main(["monitor", MODEL, *words, str(tmp_path / "out.jsonl")]) == 1
    assert "exists; give another file" in capsys.readouterr().err
    assert main(["monitor", "lab:qwen2/reasoning", *words, str(tmp_path / "other.jsonl")]) == 1
    assert "so calibrate this one" in capsys.readouterr().err
    assert main(["monitor", MODEL, *words, str(tmp_path / "other.jsonl"), "--window", "64"]) == 1
    assert "window=64 (calibrated 128)" in capsys.readouterr().err


def test_the_generations_of_an_evaluation_calibrate_as_they_are(labelled, calibration, tmp_path, capsys):
    lines = [json.loads(line) for line in labelled.read_text().splitlines()]
    rows = [
        {"problem": f"{n}", "sample": 0, "prompt": line["prompt"], "response": line["response"]}
        | {"correct": not line["low"]}
        for n, line in enumerate(lines)
    ]
    pl.DataFrame(rows).write_parquet(tmp_path / "generations.parquet")
    words = ["monitor", MODEL, "--side", "high", "--output", str(tmp_path / "cal.json"), "--calibrate"]
    assert main([*words, str(tmp_path / "generations.parquet")]) == 0
    assert Calibration.load(tmp_path / "cal.json") == Calibration.load(calibration)
    pl.DataFrame(rows).drop("correct").write_parquet(tmp_path / "generations.parquet")
    assert main([*words, str(tmp_path / "generations.parquet")]) == 1
    assert "has no column 'correct'" in capsys.readouterr().err


BAD = (
    b"{",
    b"[]",
    b'{"response": "x"}',
    b'{"prompt": "x", "response": 3}',
    b'{"prompt": "x", "response": "yy", "low": "no"}',
    b'\xff{"prompt": "x"}',
)


def test_bad_lines_are_reported_by_line_and_stop_nothing_if_asked(tmp_path, capsys):
    good = b'{"prompt": "What is 1 + 1?", "response": "<answer>2</answer>"}'
    (tmp_path / "in.jsonl").write_bytes(b"\n".join([good, *BAD, good]))
    words = ["monitor", MODEL, "--generations", str(tmp_path / "in.jsonl"), "--output"]
    assert main([*words, str(tmp_path / "a.jsonl")]) == 1
    assert "in.jsonl line 2 is not valid JSON" in capsys.readouterr().err
    assert main([*words, str(tmp_path / "a.jsonl"), "--skip-bad-lines"]) == 0
    output = capsys.readouterr()
    assert all(f"line {number}" in output.err for number in range(2, 8))
    assert "judged 2, flagged 0, bad 6, resumed 1" in output.out
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 8
    (tmp_path / "prompt.jsonl").write_text('{"prompt": "What is 1 + 1?", "low": true}\n')
    words = ["--calibrate", str(tmp_path / "prompt.jsonl"), "--output", str(tmp_path / "cal.json")]
    assert main(["monitor", MODEL, *words]) == 1
    assert 'line 1: "response" is missing' in capsys.readouterr().err


def test_an_interrupted_file_is_gone_on_with_and_equals_the_whole_one(
    lab_model, lab_tokenizer, labelled, tmp_path, monkeypatch
):
    monitor = Monitor(lab_model, lab_tokenizer)

    def judge(name):
        return judge_file(monitor, labelled, tmp_path / name, skip_bad=False, tell=print)

    judge("whole.jsonl")
    score, calls = monitor.score, []

    def interrupted(*given):
        calls.append(given)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return score(*given)

    monkeypatch.setattr(monitor, "score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        judge("cut.jsonl")
    with (tmp_path / "cut.jsonl.partial").open("ab") as file:
        file.write(b'{"line": 10, "rh')
    assert judge("cut.jsonl")["resumed"] == 9
    assert (tmp_path / "cut.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_one_of_three_things_is_done(capsys, tmp_path):
    assert main(["monitor", MODEL]) == 1
    assert main(["monitor", MODEL, "--serve", "--generations", "x"]) == 1
    assert main(["monitor", MODEL, "--generations", "x"]) == 1
    assert "--output FILE" in capsys.readouterr().err
    missing = str(tmp_path / "none.jsonl")
    assert main(["monitor", MODEL, "--generations", missing, "--output", str(tmp_path / "o")]) == 1
    assert "cannot read generations" in capsys.readouterr().err
