"""An output folder that holds evaluations of an earlier call: gone on with, or refused."""

import os
import shutil

import pytest

from corrpo.cli.main import main
from corrpo.errors import CorrpoError, OutputFolderError
from corrpo.evaluation.evaluate import evaluate
from corrpo.evaluation.options import EvaluateOptions
from corrpo.evaluation.results import load_evaluations
from corrpo.evaluation.suites.load_suite import load_suite
from corrpo.lab import checkpoint

SHORT = vars(EvaluateOptions(n=1, max_new_tokens=4, batch_size=2))
SUMS = [load_suite("lab:sums", problems=2)]


def run_of(folder, kind="reasoning"):
    """A run with one checkpoint, of two optimizer steps."""
    return shutil.copytree(checkpoint("qwen2", kind), folder / "checkpoint-2", dirs_exist_ok=True)


def test_numbers_of_other_settings_are_not_given_for_those_asked_for(tmp_path, capsys):
    words = ["evaluate", "r=lab:qwen2/reasoning", "--suite", "lab:sums", "--problems", "2", "--quiet"]
    words += ["--output", str(tmp_path / "out"), "--max-new-tokens"]
    assert main([*words, "4"]) == 0
    assert "pass@1" in capsys.readouterr().out
    assert main([*words, "5"]) == 1
    output = capsys.readouterr()
    assert "max_new_tokens was 4, now 5. Use the same settings" in output.err
    assert output.out == ""
    with pytest.raises(OutputFolderError, match="n was 1, now 2"):
        evaluate(["b=lab:qwen2/base", words[1]], SUMS, output=tmp_path / "out", **SHORT | {"n": 2})
    assert not (tmp_path / "out" / "b").exists(), "before anything is loaded"


def test_numbers_of_other_weights_are_not_given_for_those_asked_for(tmp_path):
    run_of(tmp_path / "run")

    def evaluated(*others):
        return evaluate([f"r={tmp_path / 'run'}", *others], SUMS, output=tmp_path / "out", **SHORT)

    assert evaluated().failed == ()
    run_of(tmp_path / "run", "base")
    os.utime(tmp_path / "run" / "checkpoint-2" / "model.safetensors")
    with pytest.raises(CorrpoError, match=r"no checkpoint could be evaluated: .*model\.digest was"):
        evaluated()
    done = evaluated("b=lab:qwen2/base")
    assert [one.checkpoint["key"] for one in done.evaluations] == ["b"]
    assert "model.digest was" in done.failed[0].reason


def test_an_evaluation_from_another_run_takes_the_step_that_it_has_in_this_one(tmp_path, monkeypatch):
    """As recipes/gemma3-270m/curves.sh shares the checkpoints of RL alone with the run that follows SFT."""
    for run in ("sft", "rl"):
        run_of(tmp_path / run)
    words = [f"sft={tmp_path / 'sft'}", f"rl={tmp_path / 'rl'}"]
    both = evaluate(words, SUMS, output=tmp_path / "both", **SHORT).evaluations
    assert [one.checkpoint["at"] for one in both] == [2, 4]
    shutil.copytree(tmp_path / "both" / "rl", tmp_path / "alone" / "rl")
    monkeypatch.setattr("corrpo.evaluation.checkpoint_evaluation.open_backend", None)  # nothing is loaded
    (one,) = evaluate(words[1:], SUMS, output=tmp_path / "alone", **SHORT).evaluations
    assert one.checkpoint == {"stage": "rl", "step": 2, "at": 2, "key": "rl/step-000002"}
    assert one.generations.equals(both[1].generations)
    assert [one.checkpoint["at"] for one in load_evaluations(tmp_path / "alone")] == [2]
