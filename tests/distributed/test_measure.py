"""`corrpo measure` in two processes: the files of one process, also after a death, an error, or a mistake."""

import json
import os
from pathlib import Path

import pytest

from corrpo.store import locked
from distributed.launching import QUICK, corrpo, files, kill_after, started

PROMPTS = ("The dog ", "A cat ", "In the morning ", "Anna ", "Later the ", "He found ", "By the ")


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> list[str]:
    """A command without its output: prompts to answer, and responses to read."""
    path = tmp_path_factory.mktemp("samples") / "prompts.jsonl"
    lines = [{"id": f"p{i}", "prompt": text} for i, text in enumerate(PROMPTS)]
    lines += [{"id": "given", "prompt": "The dog ", "response": "walked to the river. The end"}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return ["measure", "lab:qwen2/base", "--samples", str(path), "--batch-size", "2", *QUICK, "--output"]


@pytest.fixture(scope="module")
def alone(words, tmp_path_factory) -> dict[str, bytes]:
    """The files of one process."""
    folder = tmp_path_factory.mktemp("alone")
    corrpo([*words, folder], 1)
    return files(folder)


def test_two_processes_write_the_files_of_one(words, alone, tmp_path):
    run = corrpo([*words, tmp_path], 2)
    assert files(tmp_path) == alone
    assert run.stdout.count("Spearman") == 1
    assert (tmp_path / "report.html").exists()
    again = corrpo([*words, tmp_path], 2)
    assert again.stdout.count("Spearman") == 1
    assert files(tmp_path) == alone


def parts(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "parts").glob("[!.]*")}


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("stage", ["responses-", "tokens-"])
def test_killed_at_any_point_it_goes_on_with_any_number_of_processes(
    words, alone, tmp_path, stage, processes
):
    process = started([*words, tmp_path], 3 - processes)
    kill_after(process, lambda: any(name.startswith(stage) for name in parts(tmp_path)))
    kept = parts(tmp_path)
    assert kept
    (tmp_path / "parts" / ".tokens-000001.parquet.1.tmp").write_bytes(b"half")
    corrpo([*words, tmp_path], processes)
    assert files(tmp_path) == alone


def test_an_error_is_told_once_and_what_is_done_is_kept(words, tmp_path):
    samples = tmp_path / "samples.jsonl"
    good = Path(words[3]).read_text()
    samples.write_text(good + json.dumps({"id": "bad", "prompt": "a", "response": "b" * 400}) + "\n")
    changed = [*words[:3], str(samples), *words[4:]]
    run = corrpo([*changed, tmp_path / "out"], 2, status=1)
    assert run.stderr.count("corrpo measure: ") == 1
    assert "does not fit into the model's context of 256" in run.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_another_job_holds_is_refused_once(words, tmp_path):
    with locked(tmp_path):
        run = corrpo([*words, tmp_path], 2, status=1)
    assert run.stderr.count("corrpo measure: ") == 1
    assert "another process is writing there" in run.stderr
    assert os.listdir(tmp_path) == [".lock"]


def test_another_job_in_a_folder_is_refused_with_what_differs(words, alone, tmp_path):
    corrpo([*words, tmp_path], 1)
    run = corrpo([*words, tmp_path, "--norm", "frobenius"], 2, status=1)
    assert run.stderr.count("corrpo measure: ") == 1
    assert "settings.norm was 'nuclear', now 'frobenius'" in run.stderr
    assert files(tmp_path) == alone
