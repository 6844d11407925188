"""A dry run of a stage: what it counts, what it measures, and memory that is too little."""

import re
from pathlib import Path

import pytest
import torch
from transformers import Trainer

from corrpo.cli import train as command
from corrpo.errors import BadInputError, OutOfMemoryError, first_line
from corrpo.models.probing import peak_bytes_of
from corrpo.training import dry_run as module
from corrpo.training.dry_run import dry_run
from corrpo.training.recipe import parse_recipe
from corrpo.training.run_stage import train
from corrpo.training.stages import config_class
from memory_errors import MEMORY_ERRORS

SETTINGS = {
    "dataset": "lab:sums",
    "max_samples": "24",
    "max_steps": "5",
    "per_device_train_batch_size": "8",
    "gradient_accumulation_steps": "3",
}
ROLLOUTS = {"model": "lab:qwen2/reasoning", "num_generations": "4", "max_completion_length": "16"}
ROLLOUTS |= {"rewards": "exact"}
OF_STAGE = {"sft": {"model": "lab:qwen2/base"}, "grpo": ROLLOUTS, "corrpo": ROLLOUTS, "rloo": ROLLOUTS}


def words_of(stage, folder, **changed):
    settings = SETTINGS | OF_STAGE[stage] | {"output_dir": str(folder / "out")} | changed
    return [word for name, value in settings.items() for word in (f"--{name}", value)]


def planned(stage, folder, **changed):
    return dry_run(stage, *parse_recipe(config_class(stage), words_of(stage, folder, **changed)))


@pytest.mark.parametrize(
    ("stage", "work"),
    [
        ("sft", ["training"]),
        ("grpo", ["generation", "training"]),
        ("corrpo", ["generation", "inversion", "training"]),
        ("rloo", ["generation", "inversion", "training"]),
    ],
)
def test_a_dry_run_counts_steps_and_measures_every_kind_of_work(stage, work, tmp_path):
    plan = planned(stage, tmp_path)
    assert (plan.rows, plan.steps, plan.sequences) == (24, 5, 24)
    assert list(plan.costs) == work
    assert all(cost.seconds > 0 and cost.peak_bytes > 0 for cost in plan.costs.values())
    assert 16 < plan.longest < 256
    assert plan.weight_bytes >= 4 * plan.trained > 0
    assert not (tmp_path / "out").exists()


def test_epochs_are_turned_into_steps(tmp_path):
    assert planned("sft", tmp_path, max_steps="-1", num_train_epochs="2", max_samples="72").steps == 6
    assert planned("grpo", tmp_path, max_steps="-1", num_train_epochs="1", max_samples="30").steps == 5


def test_memory_grows_with_the_batch_and_an_adapter_needs_less(tmp_path):
    whole = planned("sft", tmp_path).costs["training"].peak_bytes
    assert planned("sft", tmp_path, per_device_train_batch_size="64").costs["training"].peak_bytes > 2 * whole
    adapter = planned("sft", tmp_path, use_peft="true", lora_r="2")
    assert adapter.trained < planned("sft", tmp_path).trained / 10


def test_the_memory_of_a_batch_is_that_of_the_training_itself(tmp_path):
    """The peak that two sequences are said to take, against a profile of eight of them."""
    recipe, config = parse_recipe(config_class("sft"), words_of("sft", tmp_path))
    trainer, _, _ = module.prepared_trainer("sft", recipe, config, module.ProgressLine("sft"))
    gradients = sum(parameter.numel() * 4 for parameter in trainer.model.parameters())
    told = module._batch_cost(config, trainer, False, 60, 60, gradients).peak_bytes
    trainer.current_gradient_accumulation_steps = 1
    inputs = module._trace_batch(config, trainer, 8, 60)

    def once():
        trainer.accelerator.backward(trainer.compute_loss(trainer.model, inputs))

    trainer.model.zero_grad(set_to_none=True)
    once()  # a step accumulates gradients of three
    assert told == pytest.approx(gradients + peak_bytes_of(once, torch.device("cpu")), rel=0.2)


def test_what_is_not_learned_from_is_not_scored(tmp_path):
    recipe, config = parse_recipe(config_class("sft"), words_of("sft", tmp_path))
    trainer, _, _ = module.prepared_trainer("sft", recipe, config, module.ProgressLine("sft"))
    labels = [row["labels"] for row in trainer.train_dataset]
    prompts = sum(row.count(-100) for row in labels) / sum(map(len, labels))
    assert prompts > 0.1
    unscored = (module._trace_batch(config, trainer, 2, 60)["labels"] == -100).float().mean()
    assert unscored == pytest.approx(prompts, abs=0.01)


@pytest.mark.parametrize(
    ("optimizer", "bytes_each"), [("adamw_torch", 8), ("sgd", 0), ("adafactor", 4 * (1024 + 1024) / 1024**2)]
)
def test_the_state_of_the_optimizer_is_counted(optimizer, bytes_each, tmp_path):
    _, config = parse_recipe(config_class("sft"), words_of("sft", tmp_path, optim=optimizer))
    cost = module._optimizer_cost(config, [torch.nn.Parameter(torch.zeros(5000, 1000))])
    assert cost.peak_bytes == pytest.approx(bytes_each * 5_000_000, rel=0.01)
    assert cost.seconds > 0


@pytest.mark.parametrize("error", MEMORY_ERRORS)
def test_memory_that_runs_out_is_one_line(error, tmp_path, monkeypatch):
    def run_out(*_, **__):
        raise error

    expected = re.escape(f"{first_line(error)}; lower --per_device_train_batch_size")
    recipe, config = parse_recipe(config_class("sft"), words_of("sft", tmp_path))
    monkeypatch.setattr(module, "_batch_cost", run_out)
    with pytest.raises(OutOfMemoryError, match=f"two sequences: {expected}"):
        dry_run("sft", recipe, config)
    monkeypatch.setattr(Trainer, "training_step", run_out)
    recipe, config = parse_recipe(config_class("sft"), words_of("sft", tmp_path))
    with pytest.raises(OutOfMemoryError, match=f"training in .*{expected}.*no checkpoint was saved yet"):
        train("sft", recipe, config)


def test_memory_that_is_too_little_is_told_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "free_memory", lambda device: 5 << 20)
    command.main(["sft", *words_of("sft", tmp_path), "--dry-run"])
    shown = capsys.readouterr().out
    assert "That is too little: lower --per_device_train_batch_size and raise" in shown
    assert "5 steps of 24 sequences" in shown
    assert not Path(tmp_path / "out").exists()
    monkeypatch.setattr(module, "free_memory", lambda device: 1 << 20)
    with pytest.raises(BadInputError, match=r"gradients and optimizer of .*--use_peft true"):
        planned("sft", tmp_path)


def test_what_a_dry_run_cannot_try_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="leave --dry-run out for dpo"):
        dry_run("dpo", *parse_recipe(config_class("dpo"), words_of("sft", tmp_path)))
    recipe, config = parse_recipe(config_class("grpo"), words_of("grpo", tmp_path))
    config.use_vllm = True
    with pytest.raises(BadInputError, match="--use_vllm false"):
        dry_run("grpo", recipe, config)
