"""measure, track and evaluate in two processes: the files of one, also after deaths, errors, and Ctrl-C."""

import json
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from corrpo.cli.main import main
from corrpo.jobs.workers import ThisProcess
from corrpo.measurement.measure_tasks import NamedModel
from corrpo.measurement.pipeline import measure_in_workers
from corrpo.models.load_options import LoadOptions
from jobs.launching import ended_when, environment, files
from measurement.runs import LAB, lab_copy

pytestmark = pytest.mark.slow

PROMPTS = ("The dog ", "A cat ", "In the morning ", "Anna ", "Later the ", "He found ", "By the ")
QUICK = ["--estimator", "own", "--resamples", "20", "--permutations", "0", "--max-new-tokens", "12"]
EVALUATE = ["evaluate", "r=lab:qwen2/reasoning", "b=lab:qwen2/base", "--suite", "lab:sums", "--problems", "4"]
EVALUATE += ["--n", "1", "--batch-size", "3", "--max-new-tokens", "12"]
TWO = ["--device", "cpu", "--processes", "2", "--output"]
ONE = ["--device", "cpu", "--processes", "1", "--output"]


def samples_file(path: Path, *more: dict) -> Path:
    lines = [{"id": f"p{i}", "prompt": text} for i, text in enumerate(PROMPTS)]
    lines += [{"id": "given", "prompt": "The dog ", "response": "walked to the river. The end"}, *more]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def measure(samples: Path, model: str | Path = "lab:qwen2/base") -> list[str]:
    """A measurement without its processes and output."""
    return ["measure", str(model), "--samples", str(samples), "--batch-size", "2", *QUICK]


def broken_model(folder: Path) -> Path:
    """The lab's base model, giving NaN for "@"."""
    token = AutoTokenizer.from_pretrained(LAB.with_name("base"))("@").input_ids[0]
    model = AutoModelForCausalLM.from_pretrained(LAB.with_name("base"))
    with torch.no_grad():
        head = model.lm_head.weight.clone()
        model.get_input_embeddings().weight[token] = float("nan")
        model.lm_head.weight = torch.nn.Parameter(head)
    model.config.tie_word_embeddings = False
    model.save_pretrained(folder)
    for path in LAB.with_name("base").glob("*token*"):
        shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> list[str]:
    return measure(samples_file(tmp_path_factory.mktemp("samples") / "samples.jsonl"))


@pytest.fixture(scope="module")
def alone(words, tmp_path_factory) -> dict[str, bytes]:
    """The files that one process writes."""
    folder = tmp_path_factory.mktemp("alone")
    assert main([*words, *ONE, str(folder)]) == 0
    return files(folder)


def test_two_processes_write_the_files_of_one(words, alone, tmp_path, capsys):
    for _ in range(2):
        assert main([*words, *TWO, str(tmp_path)]) == 0
        assert "Spearman" in capsys.readouterr().out
        assert files(tmp_path) == alone
    assert {"tokens.parquet", "responses.jsonl", "fingerprint.json", "settings.json"} == set(alone)
    assert json.loads((tmp_path / "fingerprint.json").read_text())["run"]["processes"] == 2
    assert main([*words, *TWO, str(tmp_path), "--norm", "frobenius"]) == 1
    assert "settings.norm was 'nuclear', now 'frobenius'" in capsys.readouterr().err


def test_killed_or_interrupted_it_goes_on_with_any_number_of_processes(words, alone, tmp_path):
    killed = tmp_path / "killed"
    reached = lambda: len(list(killed.glob("parts/tokens-*"))) >= 2  # noqa: E731
    ended_when([*words, *TWO, str(killed)], reached, signal.SIGKILL)
    left = sorted(path.name for path in killed.glob("parts/[!.]*"))
    assert len(left) >= 6
    (killed / "parts" / ".tokens-000001.parquet.1.tmp").write_bytes(b"half")
    few = Path(shutil.copytree(killed, tmp_path / "few"))
    for name in left[1::2]:
        (few / "parts" / name).unlink()
    for folder, how in ((killed, ONE), (few, TWO)):
        assert main([*words, *how, str(folder)]) == 0
        assert files(folder) == alone
    for how, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        stopped = tmp_path / how.name
        reached = lambda stopped=stopped: bool(list(stopped.glob("parts/responses-*")))  # noqa: E731
        ended, output = ended_when([*words, *TWO, str(stopped)], reached, how)
        assert ended == status
        assert output.count("stopped; what is done is kept") == 1
        assert "Traceback" not in output
        assert main([*words, *ONE, str(stopped)]) == 0
        assert files(stopped) == alone


def test_a_worker_that_dies_with_the_model_is_told_by_its_name(tmp_path):
    told = []

    class Telling(ThisProcess):
        def map(self, task, items, **keywords):
            told.extend(map(str, items))
            return super().map(task, items, **keywords)

    model = NamedModel("lab:qwen2/base", LoadOptions(device="cpu"))
    measure_in_workers(model, [{"prompt": "a", "response": "The dog"}], Telling(), output=tmp_path / "out")
    assert told == ["lab:qwen2/base", "responses-000000", "tokens-000000"]


def test_it_works_where_standard_streams_are_closed(words, alone, tmp_path):
    command = shlex.join([sys.executable, "-m", "corrpo.cli.main", *words, *TWO, str(tmp_path / "out")])
    subprocess.run(f"{command} <&- >&- 2>&-", shell=True, env=environment(), check=True)
    assert files(tmp_path / "out") == alone


def test_errors_are_told_once_and_keep_what_is_done(tmp_path, capfd):
    too_long = samples_file(tmp_path / "long.jsonl", {"prompt": "a", "response": "b" * 400})
    assert main([*measure(too_long), *TWO, str(tmp_path / "nothing")]) == 1
    assert capfd.readouterr().err.count("does not fit into the model's context of 256") == 1
    assert not (tmp_path / "nothing").exists()
    bad = samples_file(tmp_path / "bad.jsonl", {"id": "bad", "prompt": "a", "response": "@ home, " * 9})
    broken = broken_model(tmp_path / "broken")
    assert main([*measure(bad, broken), *TWO, str(tmp_path / "out")]) == 1
    assert capfd.readouterr().err.count("corrpo measure: sample 'bad': the logits of response token") == 1
    assert len(list(tmp_path.glob("out/parts/responses-*"))) == 5
    assert not list(tmp_path.glob("out/parts/.*"))
    track = ["track", f"sft:1={lab_copy(tmp_path / 'first')}", f"sft:2={broken}", "sft:3=lab:qwen2/reasoning"]
    track += ["--samples", str(bad), *QUICK]
    results = []
    for name, how in (("one", ONE), ("two", TWO)):
        assert main([*track, *how, str(tmp_path / name)]) == 1
        said = capfd.readouterr().err
        assert "1 of 3 checkpoints could not be measured" in said
        assert "sample 'bad': the logits" in said
        results.append({path: text for path, text in files(tmp_path / name).items() if "/parts/" not in path})
    assert results[0] == results[1]
    assert {"track.json", "trajectory.parquet", "sft/step-000003/tokens.parquet"} <= set(results[0])


def test_evaluate_writes_the_files_of_one_process(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("corrpo.jobs.progress_bar.BETWEEN_LINES", 0.1)
    for name, how in (("one", ONE), ("two", TWO), ("two", ONE)):
        assert main([*EVALUATE, *how, str(tmp_path / name)]) == 0
        said = capsys.readouterr()
        assert "pass@1" in said.out
        in_two = how is TWO
        assert ("2 checkpoints in 2 processes" in said.err) == in_two
        assert ("checkpoints 0 of 2 (0 %)" in said.err) == in_two
    assert files(tmp_path / "one") == files(tmp_path / "two")


@pytest.mark.parametrize(("rank", "status"), [("0", 1), ("1", 0)])
def test_under_torchrun_the_first_process_tells_what_to_do(
    words, tmp_path, capsys, monkeypatch, rank, status
):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", rank)
    assert main([*words, "--output", str(tmp_path / "out")]) == status
    told = "measure starts its own processes: run it without torchrun, with --processes N"
    assert capsys.readouterr().err.count(told) == status
    assert not (tmp_path / "out").exists()
