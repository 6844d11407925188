"""measure, track and evaluate in two processes: the files of one, also after a death, an error, a mistake."""

import json
import shutil
import signal
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from corrpo.cli.main import main
from corrpo.jobs.folder_lock import locked_folder
from jobs.launching import WORKER, ended_when, files, in_two_processes, torchrun
from measurement.runs import LAB, lab_copy

pytestmark = pytest.mark.slow

PROMPTS = ("The dog ", "A cat ", "In the morning ", "Anna ", "Later the ", "He found ", "By the ")
QUICK = ["--estimator", "own", "--resamples", "20", "--permutations", "0", "--max-new-tokens", "12"]
EVALUATE = ["evaluate", "r=lab:qwen2/reasoning", "--suite", "lab:sums", "--problems", "6", "--n", "2"]
EVALUATE += ["--batch-size", "5", "--max-new-tokens", "12", "--temperature", "1", "--output"]


def samples_file(path: Path, *more: dict) -> Path:
    lines = [{"id": f"p{i}", "prompt": text} for i, text in enumerate(PROMPTS)]
    lines += [{"id": "given", "prompt": "The dog ", "response": "walked to the river. The end"}, *more]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def measure(samples: Path, model: str | Path = "lab:qwen2/base") -> list[str]:
    """A measurement without its output."""
    return ["measure", str(model), "--samples", str(samples), "--batch-size", "2", *QUICK, "--output"]


def broken_model(folder: Path, token: int) -> Path:
    """The lab's base model, giving NaN for a token."""
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


class Study:
    """Folders made by one process, by two, and by two that were killed, and what was said."""

    def __init__(self, folder: Path, letter_at: int):
        self.folder = folder
        samples = samples_file(folder / "samples.jsonl")
        self.words = measure(samples)
        too_long = samples_file(folder / "long.jsonl", {"prompt": "a", "response": "b" * 400})
        bad = samples_file(
            folder / "bad.jsonl", {"id": "bad", "prompt": "a", "response": "@ home again, " * 9}
        )
        model = broken_model(folder / "broken", letter_at)
        track = [
            "track",
            f"sft:1={lab_copy(folder / 'first')}",
            f"sft:2={model}",
            "sft:3=lab:qwen2/reasoning",
        ]
        track += ["--samples", str(bad), *QUICK, "--output"]
        here = {"alone": self.words, "by-one/track": track, "evaluate-alone": EVALUATE}
        self.alone = {name: main([*words, str(folder / name)]) for name, words in here.items()}
        self._kill()
        commands = {
            "fresh": [*self.words, "fresh"],
            "again": [*self.words, "fresh"],
            "killed": [*self.words, "killed"],
            "few parts": [*self.words, "few"],
            "too long": [*measure(too_long), "nothing"],
            "not a number": [*measure(bad, model), "broken-out"],
            "other settings": [*self.words, "fresh", "--norm", "frobenius"],
            "held": [*self.words, "held"],
            "unread": ["measure", "--norm", "round"],
            "track": [*track, "track"],
            "evaluate": [*EVALUATE, "evaluate"],
            "evaluate again": [*EVALUATE, "evaluate"],
            "track --processes": [*track, "nothing", "--processes", "2"],
            "evaluate --backend vllm": [*EVALUATE, "nothing", "--backend", "vllm"],
        }
        given = [
            [
                str(folder / word) if before == "--output" else word
                for before, word in zip(["", *words], words, strict=False)
            ]
            for words in commands.values()
        ]
        with locked_folder(folder / "held"):
            reports = in_two_processes(given, folder)
        self.said = dict(zip(commands, reports, strict=True))

    def _kill(self) -> None:
        """Two processes killed while they measure; what they left, and less of it, to go on with."""
        self.killed = self.folder / "killed"
        reached = lambda: len(list((self.killed / "parts").glob("tokens-*"))) >= 2  # noqa: E731
        words = ["-m", "corrpo", *self.words, str(self.killed)]
        ended_when(words, reached, signal.SIGKILL, children=True)
        (self.killed / "parts" / ".tokens-000001.parquet.1.tmp").write_bytes(b"half")
        self.left = sorted(path.name for path in (self.killed / "parts").glob("[!.]*"))
        shutil.copytree(self.killed, self.folder / "one")
        few = Path(shutil.copytree(self.killed, self.folder / "few"))
        for name in self.left[1::2]:
            (few / "parts" / name).unlink()

    def error_of(self, name: str) -> str:
        """The one error of a command, printed by one process; both ended with status 1."""
        reports = self.said[name]
        assert [report["status"] for report in reports] == [1, 1]
        errors = [report["err"] for report in reports if "corrpo " in report["err"]]
        assert len(errors) == 1
        return errors[0]

    def files(self, name: str) -> dict[str, bytes]:
        return files(self.folder / name)


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    from transformers import AutoTokenizer

    at = AutoTokenizer.from_pretrained(LAB.with_name("base"))("@").input_ids[0]
    return Study(tmp_path_factory.mktemp("study"), at)


def test_two_processes_write_the_files_of_one(study):
    assert study.alone["alone"] == 0
    assert study.files("fresh") == study.files("alone")
    assert {"tokens.parquet", "responses.jsonl", "fingerprint.json", "settings.json"} == set(
        study.files("fresh")
    )
    for name in ("fresh", "again"):
        assert [report["status"] for report in study.said[name]] == [0, 0]
        assert ["Spearman" in report["out"] for report in study.said[name]] == [True, False]
        assert study.said[name][1]["err"] == ""


def test_killed_it_goes_on_with_any_number_of_processes(study):
    assert len(study.left) >= 6
    assert study.files("killed") == study.files("few") == study.files("alone")
    assert main([*study.words, str(study.folder / "one")]) == 0
    assert study.files("one") == study.files("alone")


def test_errors_are_reported_once(study):
    assert "does not fit into the model's context of 256" in study.error_of("too long")
    assert "another process is writing there" in study.error_of("held")
    assert "settings.norm was 'nuclear', now 'frobenius'" in study.error_of("other settings")
    assert "processes=2, and 2 processes were started together" in study.error_of("track --processes")
    assert "backend 'vllm' starts processes of its own" in study.error_of("evaluate --backend vllm")
    assert not (study.folder / "nothing").exists()
    assert [report["status"] for report in study.said["unread"]] == [2, 2]
    assert [bool(report["err"]) for report in study.said["unread"]] == [True, False]


def test_an_error_keeps_what_is_done(study):
    assert "sample 'bad': the logits of response token" in study.error_of("not a number")
    parts = study.folder / "broken-out" / "parts"
    assert len(list(parts.glob("responses-*"))) == 5
    assert not list(parts.glob(".*"))


def test_track_writes_the_files_of_one_process_and_goes_on_after_a_checkpoint_that_fails(study):
    assert study.alone["by-one/track"] == 1
    assert [report["status"] for report in study.said["track"]] == [1, 0]
    assert "1 of 3 checkpoints could not be measured" in study.said["track"][0]["err"]
    assert "sample 'bad': the logits" in study.said["track"][0]["err"]
    together, expected = study.files("track"), study.files("by-one/track")
    parts = {name for name in expected if "/parts/" in name}
    assert {name: text for name, text in together.items() if "/parts/" not in name} == {
        name: text for name, text in expected.items() if name not in parts
    }
    assert {"track.json", "trajectory.parquet", "sft/step-000003/tokens.parquet"} <= set(together)


def test_evaluate_writes_the_files_of_one_process(study):
    assert study.alone["evaluate-alone"] == 0
    assert study.files("evaluate") == study.files("evaluate-alone")
    for name in ("evaluate", "evaluate again"):
        assert [report["status"] for report in study.said[name]] == [0, 0]
        assert ["pass@1" in report["out"] for report in study.said[name]] == [True, False]


def test_a_mistake_of_the_program_in_one_process_ends_all(study, tmp_path):
    commands = tmp_path / "commands.json"
    commands.write_text(json.dumps([["fails", *study.words, str(tmp_path / "out")]]))
    run = torchrun([WORKER, str(commands), str(tmp_path)])
    assert run.returncode == 1
    assert run.stderr.count("ZeroDivisionError: a mistake of the program") == 1
    assert "corrpo measure" not in run.stderr
    assert list((tmp_path / "out" / "parts").glob("tokens-*"))


def test_an_interrupt_is_reported_once_and_the_work_goes_on_after(study, tmp_path):
    reached = lambda: bool(list(tmp_path.glob("parts/responses-*")))  # noqa: E731
    words = ["-m", "corrpo", *study.words, str(tmp_path)]
    status, output = ended_when(words, reached, signal.SIGINT, children=False)
    assert status != 0
    assert output.count("stopped; what is done is kept") == 1
    assert main([*study.words, str(tmp_path)]) == 0
    assert files(tmp_path) == study.files("alone")
