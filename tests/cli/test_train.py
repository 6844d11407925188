"""`corrpo train` as a user meets it: help, a recipe with flags, mistakes, and runs that are stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM

from corrpo.cli import train
from corrpo.cli.main import main
from corrpo.training.resuming import is_resumable

SETTINGS = {
    "model": "lab:qwen2/reasoning",
    "dataset": "lab:sums",
    "max_samples": 16,
    "rewards": ["exact", "format"],
    "max_steps": 2,
    "save_steps": 1,
    "logging_steps": 1,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "constant",
    "per_device_train_batch_size": 16,
    "num_generations": 4,
    "max_completion_length": 64,
    "gradient_checkpointing": False,
}


@pytest.fixture
def recipe(tmp_path) -> str:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(SETTINGS))
    return str(path)


@pytest.fixture
def page(run_corrpo):
    """`page("sft", "--help")`: what a command shows that ends well."""

    def show(*words: str) -> str:
        ended = run_corrpo("train", *words)
        assert ended.status == 0
        return ended.out

    return show


@pytest.fixture
def refusal(run_corrpo):
    """`refusal("ppo")`: the message of a command that must fail, without a traceback."""

    def refuse(*words: str) -> str:
        ended = run_corrpo("train", *words)
        assert ended.status == 1
        assert ended.err.startswith("corrpo train: ")
        assert "Traceback" not in ended.err
        return ended.err

    return refuse


def same(one: Path, other: Path) -> bool:
    first, second = (AutoModelForCausalLM.from_pretrained(path).state_dict() for path in (one, other))
    return all(torch.equal(first[name], second[name]) for name in first)


def test_help_explains_the_stages_with_an_example(page):
    shown = page("--help")
    assert all(stage in shown for stage in ("sft", "grpo", "corrpo", "rloo"))
    assert "corrpo train corrpo --config recipes/lab/corrpo.yaml" in shown
    assert "torchrun --nproc_per_node 2 -m corrpo.cli.main train" in shown
    assert all(len(line) <= 110 for line in shown.splitlines())
    assert page() == shown


@pytest.mark.parametrize("stage", train.STAGES)
def test_a_stage_lists_our_fields_first_and_points_to_trl(stage, page):
    shown = page(stage, "--help")
    assert shown.index("--dataset") < shown.index("--output_dir") < shown.index("learning_rate")
    assert "https://huggingface.co/docs/trl/" in shown
    assert ("--inversion_weight" in shown) == (stage in ("corrpo", "rloo"))
    assert "model_name_or_path" not in shown
    assert all(len(line) <= 110 for line in shown.splitlines())


def test_a_recipe_with_a_field_overridden_on_the_command_line(recipe, tmp_path, capsys):
    output = tmp_path / "out"
    assert main(["train", "corrpo", "--config", recipe, "--output_dir", str(output), "--max_steps", "1"]) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == str(output / "final")
    assert "corrpo 1/1" in captured.err
    record = json.loads((output / "recipe.json").read_text())
    assert record["settings"]["max_steps"] == 1
    assert record["settings"]["save_steps"] == 1
    samples = tmp_path / "samples.jsonl"
    samples.write_text('{"prompt": "What is 12 + 34?"}\n')
    measure = ["measure", str(output / "checkpoint-1"), "--samples", str(samples)]
    quick = ["--max-new-tokens", "16", "--resamples", "50", "--permutations", "50"]
    assert main([*measure, "--output", str(tmp_path / "measured"), *quick]) == 0


def test_mistakes_are_reported_in_a_line(recipe, tmp_path, refusal):
    output = ["--output_dir", str(tmp_path / "out")]
    assert "there is no stage 'ppo'; expected one of sft, dpo, grpo" in refusal("ppo")
    assert "cannot read the recipe none.yaml" in refusal("sft", "--config", "none.yaml")
    assert "--output_dir must be given" in refusal("grpo", "--config", recipe)
    flags = ["--config", recipe, *output]
    assert "did you mean --max_steps?" in refusal("grpo", *flags, "--max_stesp", "3")
    assert "inversion_gate='some'" in refusal("corrpo", *flags, "--inversion_gate", "some")
    assert "inversion_weight=nan" in refusal("corrpo", *flags, "--inversion_weight", "nan")
    assert "from the hub" in refusal("grpo", *flags, "--dataset", "no/such-data")
    assert not (tmp_path / "out").exists()


def test_without_the_packages_of_training_it_says_which_to_install(recipe, refusal, monkeypatch):
    monkeypatch.setattr("corrpo.errors.find_spec", lambda name: None if name == "trl" else object())
    message = refusal("sft", "--config", recipe)
    assert "training needs trl, which is not installed: pip install -c constraints.txt '.[train]'" in message


def command(recipe: str, output: Path, *flags: str, launcher: tuple[str, ...] = ()) -> list[str]:
    program = [sys.executable, *(launcher or ("-m", "corrpo.cli.main"))]
    return [*program, "train", "corrpo", "--config", recipe, "--output_dir", str(output), *flags]


def start(words: list[str]) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def stopped_after_a_checkpoint(words: list[str], output: Path, kind: signal.Signals) -> tuple[int, str]:
    process = start(words)
    for _ in range(1200):
        if is_resumable(output / "checkpoint-1") or process.poll() is not None:
            break
        time.sleep(0.05)
    process.send_signal(kind)
    _, message = process.communicate(timeout=60)
    return process.returncode, message


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_stopped_run_goes_on_and_ends_like_an_undisturbed_one(
    recipe, tmp_path, kind, status, capsys, refusal
):
    steps = ("--max_steps", "6")
    cut, uninterrupted = tmp_path / "cut", tmp_path / "whole"
    returned, message = stopped_after_a_checkpoint(command(recipe, cut, *steps), cut, kind)
    assert returned == status
    assert "Traceback" not in message
    if kind == signal.SIGINT:
        assert "is kept; add --resume to go on from it" in message
    assert not (cut / "final").exists()
    flags = ["train", "corrpo", "--config", recipe, *steps, "--output_dir"]
    assert "add --resume to go on with it" in refusal(*flags[1:], str(cut))
    assert main([*flags, str(cut), "--resume"]) == 0
    assert "going on from" in capsys.readouterr().err
    assert main([*flags, str(uninterrupted)]) == 0
    assert same(cut / "final", uninterrupted / "final")


@pytest.mark.slow
def test_two_processes_under_torchrun(recipe, tmp_path):
    launcher = ("-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "corrpo.cli.main")
    flags = ("--per_device_train_batch_size", "8", "--max_steps", "1")
    process = start(command(recipe, tmp_path / "out", *flags, launcher=launcher))
    printed, message = process.communicate(timeout=120)
    assert process.returncode == 0, message
    assert printed.strip() == str(tmp_path / "out" / "final")
    assert message.count("corrpo 1/1") == 1
    assert json.loads((tmp_path / "out" / "recipe.json").read_text())["processes"] == 2
    names = {path.name for path in (tmp_path / "out" / "checkpoint-1").iterdir()}
    assert {"rng_state_0.pth", "rng_state_1.pth"} <= names
