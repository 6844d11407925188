"""The stages end to end on lab models: two or three steps each, resumed, stopped, and refused."""

import errno
import json
import logging
import math
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, PreTrainedModel

import corrpo
from chat_templates import ending_tokenizer
from corrpo.errors import BadInputError, OutputFolderError, UnsupportedModelError
from corrpo.jobs.folder_lock import locked_folder
from corrpo.lab import checkpoint
from corrpo.models.training_run import trainer_checkpoints
from corrpo.training.metrics_file import MetricsFile
from corrpo.training.recipe import parse_recipe
from corrpo.training.resuming import is_resumable, last_resumable
from corrpo.training.run_stage import train
from corrpo.training.stages import STAGES, config_class
from corrpo.training.training_progress import ProgressLine
from training.verdicts import of_sums, write_generations

COMMON = {
    "dataset": "lab:sums",
    "max_samples": 8,
    "max_steps": 2,
    "save_steps": 1,
    "logging_steps": 1,
    "learning_rate": 1e-3,
    "gradient_checkpointing": False,
    "lr_scheduler_type": "constant",
}
ROLLOUTS = {
    "model": "lab:qwen2/reasoning",
    "rewards": ["exact", "format"],
    "per_device_train_batch_size": 16,
    "num_generations": 4,
    "max_completion_length": 16,
}
TRACES = {"model": "lab:qwen2/base", "per_device_train_batch_size": 4}
PAIRS = {"model": "lab:qwen2/reasoning", "per_device_train_batch_size": 4, "max_samples": 16}


def stage_run(stage: str, output: Path, **settings) -> Path:
    of_stage: dict = {"sft": TRACES, "dpo": PAIRS}.get(stage, ROLLOUTS)
    if stage == "dpo":
        output.mkdir(exist_ok=True)
        path = write_generations(output / "generations.parquet", of_sums(12))
        of_stage = of_stage | {"dataset": path}
    everything = {"output_dir": str(output)} | COMMON | of_stage | settings
    words = []
    for name, value in everything.items():
        words += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return train(stage, *parse_recipe(config_class(stage), words))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return AutoModelForCausalLM.from_pretrained(folder).state_dict()


def same(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("stage", ["sft", "dpo", "grpo", "corrpo", "rloo"])
def test_a_stage_leaves_models_that_corrpo_reads_and_a_record(stage, tmp_path, capsys):
    evaluation = {"eval_strategy": "steps", "eval_steps": 2, "max_eval_samples": 4}
    evaluation["eval_split"] = "train" if stage == "dpo" else "test"
    final = stage_run(stage, tmp_path, **evaluation, per_device_eval_batch_size=8)
    assert final == tmp_path / "final"
    assert [path.name for path in trainer_checkpoints(tmp_path)] == ["checkpoint-1", "checkpoint-2"]
    for folder in (final, *trainer_checkpoints(tmp_path)):
        model, tokenizer = corrpo.load_model(str(folder))
        assert tokenizer.chat_template
        assert model.config.model_type == "qwen2"
    assert same(final, tmp_path / "checkpoint-2")
    record = json.loads((tmp_path / "recipe.json").read_text())
    assert record["stage"] == stage
    assert record["settings"]["max_steps"] == 2
    assert {"corrpo", "torch", "transformers", "trl", "python"} <= set(record["versions"])
    metrics = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    history = json.loads((tmp_path / "checkpoint-2" / "trainer_state.json").read_text())["log_history"]
    assert [line["step"] for line in metrics[: len(history)]] == [line["step"] for line in history]
    assert [line.get("loss") for line in metrics[: len(history)]] == [line.get("loss") for line in history]
    method = {"sft": "SFT", "dpo": "DPO", "grpo": "GRPO", "corrpo": "CorR-PO", "rloo": "CorR-RLOO"}[stage]
    for folder in (tmp_path, final):
        card = (folder / "README.md").read_text()
        assert f"# {method}: {tmp_path.name}" in card
        assert f"| model | {record['settings']['model']} |" in card
        assert "| learning_rate | 0.001 |" in card
        assert ("| inversion_estimator | own |" in card) == (stage in ("corrpo", "rloo"))
        assert ("arXiv:2605.17770" in card) == (stage in ("corrpo", "rloo"))
    shown = capsys.readouterr().err
    assert ("was 0 for every rollout of the first 2 steps" in shown) == (stage in ("grpo", "corrpo", "rloo"))
    assert f"{stage} 1/2" in shown
    assert "evaluation 2/2" in shown
    assert f"{stage}, 2 steps" in shown
    assert ("rho" in shown) == (stage in ("corrpo", "rloo"))
    assert "{'loss'" not in shown


def test_fine_tuning_moves_the_weights_and_the_reasoning_model_knows_the_traces(tmp_path):
    assert not same(stage_run("sft", tmp_path / "base"), checkpoint("qwen2", "base"))
    stage_run("sft", tmp_path / "reasoning", model="lab:qwen2/reasoning", learning_rate=0.0)
    state = json.loads((tmp_path / "reasoning" / "checkpoint-1" / "trainer_state.json").read_text())
    assert state["log_history"][0]["mean_token_accuracy"] > 0.9


def test_preferences_start_from_the_reference_and_part_the_pairs(tmp_path):
    stage_run("dpo", tmp_path, max_steps=4, max_samples=64)
    state = json.loads((tmp_path / "checkpoint-4" / "trainer_state.json").read_text())
    first, *_, last = [log for log in state["log_history"] if "loss" in log]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert last["loss"] < first["loss"]
    assert last["rewards/margins"] > 0


REWARDED = {"max_completion_length": 64}


@pytest.mark.parametrize(
    "stage", [*(pytest.param(stage, marks=pytest.mark.slow) for stage in ("sft", "dpo", "grpo")), "corrpo"]
)
@pytest.mark.parametrize(
    "steps",
    [
        pytest.param((1, 2), id="in an epoch", marks=pytest.mark.slow),
        pytest.param((2, 3), id="after one", marks=pytest.mark.slow),
        pytest.param((3, 4), id="in the second"),
    ],
)
def test_a_resumed_run_ends_with_the_weights_of_an_undisturbed_one(stage, steps, tmp_path, capsys):
    settings = REWARDED if STAGES[stage].draws_rollouts else {}
    uninterrupted = stage_run(stage, tmp_path / "whole", max_steps=steps[1], **settings)
    stage_run(stage, tmp_path / "parts", max_steps=steps[0], **settings)
    capsys.readouterr()
    parts = stage_run(stage, tmp_path / "parts", max_steps=steps[1], resume=True, **settings)
    shown = capsys.readouterr().err
    assert f"going on from {tmp_path / 'parts' / f'checkpoint-{steps[0]}'}" in shown
    assert f"max_steps was {steps[0]}, now {steps[1]}" in shown
    assert same(uninterrupted, parts)
    assert not same(uninterrupted, tmp_path / "whole" / f"checkpoint-{steps[0]}")
    record = json.loads((tmp_path / "parts" / "recipe.json").read_text())
    start = f"checkpoint-{steps[0]}"
    assert record["resumed"] == [{"from": start, "changed": {"max_steps": list(steps)}}]


@pytest.mark.slow
def test_a_half_written_checkpoint_is_left_aside(tmp_path, caplog):
    uninterrupted = stage_run("corrpo", tmp_path / "whole", max_steps=3, **REWARDED)
    stage_run("corrpo", tmp_path / "cut", max_steps=3, **REWARDED)
    last = tmp_path / "cut" / "checkpoint-3"
    (last / "trainer_state.json").write_text('{"global_step": 3, "log')
    (last / "optimizer.pt").unlink()
    assert last_resumable(tmp_path / "cut") == tmp_path / "cut" / "checkpoint-2"
    with caplog.at_level(logging.WARNING, logger="corrpo"):
        assert same(
            stage_run("corrpo", tmp_path / "cut", max_steps=3, resume=True, **REWARDED), uninterrupted
        )
    assert "checkpoint-3 was not saved whole; it is now half-written-3" in caplog.text
    assert (tmp_path / "cut" / "half-written-3").is_dir()
    assert is_resumable(last)


@pytest.mark.parametrize("lacking", ["model.safetensors", "rng_state.pth", "inversion_state.json"])
def test_a_checkpoint_is_whole_if_all_of_it_is_there(tmp_path, lacking):
    stage_run("corrpo", tmp_path, max_steps=1)
    last = tmp_path / "checkpoint-1"
    assert is_resumable(last, also=["inversion_state.json"])
    (last / lacking).unlink()
    assert not is_resumable(last, also=["inversion_state.json"])


def test_a_checkpoint_of_several_processes_needs_the_random_state_of_each(tmp_path):
    stage_run("grpo", tmp_path, max_steps=1, **REWARDED)
    last = tmp_path / "checkpoint-1"
    (last / "rng_state.pth").rename(last / "rng_state_0.pth")
    assert not is_resumable(last)
    (last / "rng_state_1.pth").write_bytes(b"")
    assert is_resumable(last)
    (last / "rng_state_3.pth").write_bytes(b"")
    assert not is_resumable(last)


def test_resuming_without_a_whole_checkpoint_starts_from_the_beginning(tmp_path, capsys):
    (tmp_path / "checkpoint-5").mkdir()
    assert stage_run("sft", tmp_path, max_steps=1, resume=True).is_dir()
    assert "no whole checkpoint: starting from the beginning" in capsys.readouterr().err


def test_ctrl_c_keeps_what_was_saved_and_says_how_to_go_on(tmp_path, monkeypatch):
    def interrupt(self, args, state, control, **kwargs):
        if state.global_step == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(ProgressLine, "on_step_begin", interrupt)
    with pytest.raises(KeyboardInterrupt, match=r"checkpoint-2 is kept; add --resume to go on from it"):
        stage_run("sft", tmp_path, max_steps=4)
    monkeypatch.undo()
    assert stage_run("sft", tmp_path, max_steps=3, resume=True).is_dir()


def full(*_given, **_named):
    raise OSError(errno.ENOSPC, "No space left on device")


def full_for_safetensors(*_given, **_named):
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


def full_for_torch(*_given, **_named):
    raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")


@pytest.mark.parametrize(
    ("place", "fail", "reason"),
    [
        (MetricsFile, full, "No space left on device"),
        (PreTrainedModel, full_for_safetensors, "No space left on device"),
        (torch, full_for_torch, "torch could not write a file, as on a full disk"),
    ],
)
def test_a_full_disk_is_told_with_what_is_kept(tmp_path, monkeypatch, place, fail, reason):
    stage_run("sft", tmp_path, max_steps=1)
    (tmp_path / "final").rename(tmp_path / "elsewhere")
    writer = {MetricsFile: "on_log", PreTrainedModel: "save_pretrained", torch: "save"}[place]
    monkeypatch.setattr(place, writer, fail)
    with pytest.raises(OutputFolderError, match=f"cannot be written to: {reason}; .*checkpoint-1 is kept"):
        stage_run("sft", tmp_path, max_steps=2, resume=True)


def test_an_error_that_is_not_of_the_disk_stays_what_it_is(tmp_path, monkeypatch):
    def lost(*_given, **_named):
        raise RuntimeError("the loss is gone")

    monkeypatch.setattr(MetricsFile, "on_log", lost)
    with pytest.raises(RuntimeError, match="^the loss is gone$"):
        stage_run("sft", tmp_path, max_steps=1)


def test_two_trainings_do_not_write_into_one_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("corrpo.training.run_stage.TIME_TO_END", 0.1)
    stage_run("sft", tmp_path, max_steps=1)
    with (
        locked_folder(tmp_path),
        pytest.raises(OutputFolderError, match="another process is writing there"),
    ):
        stage_run("sft", tmp_path, max_steps=2, resume=True)


def test_a_folder_that_holds_a_run_is_refused(tmp_path):
    stage_run("sft", tmp_path)
    with pytest.raises(OutputFolderError, match=r"checkpoint-1, checkpoint-2, final.*add --resume"):
        stage_run("sft", tmp_path)
    with pytest.raises(OutputFolderError, match="holds a run of sft, which grpo cannot resume"):
        stage_run("grpo", tmp_path, resume=True)


def test_lora_checkpoints_are_adapters_and_the_final_model_is_merged(tmp_path):
    final = stage_run(
        "corrpo", tmp_path, use_peft=True, lora_target_modules=["q_proj", "v_proj"], learning_rate=1e-1
    )
    assert (tmp_path / "checkpoint-2" / "adapter_model.safetensors").exists()
    beside, _ = corrpo.load_model(str(tmp_path / "checkpoint-2"))
    merged, _ = corrpo.load_model(str(final))
    ids = torch.arange(3, 12)[None]
    torch.testing.assert_close(beside(input_ids=ids).logits, merged(input_ids=ids).logits)
    before, after = weights(checkpoint("qwen2", "reasoning")), weights(final)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.endswith(("q_proj.weight", "v_proj.weight")) for name in moved)


@pytest.mark.parametrize(
    ("stage", "settings", "message"),
    [
        ("grpo", {"rewards": ["correct"]}, "'correct' is unknown; expected one of exact, math, format"),
        ("grpo", {"rewards": ["exact", "math"]}, "only one"),
        ("grpo", {"reward_weights": [1.0]}, "expected one for each of rewards"),
        ("grpo", {"max_samples": 3}, "3 prompts, and one generation batch takes 4"),
        ("grpo", {"eval_strategy": "steps"}, "needs an eval_dataset"),
        ("grpo", {"resume_from_checkpoint": "x"}, "use --resume"),
        ("sft", {"resume": True, "save_only_model": True}, "save_only_model keeps no optimizer"),
        ("sft", {"model": "no/such-model"}, "cannot load the tokenizer of no/such-model"),
        ("sft", {"dataset": "no/such-data"}, "from the hub"),
        ("corrpo", {"inversion_layers": [9]}, "layers"),
    ],
)
def test_what_cannot_work_is_refused_before_training(stage, settings, message, tmp_path):
    with pytest.raises(BadInputError, match=message):
        stage_run(stage, tmp_path, **settings)
    assert not trainer_checkpoints(tmp_path)


def test_data_is_refused_before_the_model_is_loaded(tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "1 + 1"}\n')
    monkeypatch.setattr("corrpo.training.run_stage.load_starting_model", pytest.fail)
    with pytest.raises(BadInputError, match=r"has no column 'answer'.*--answer_column"):
        stage_run("grpo", tmp_path / "out", dataset=str(path))
    evaluation = {"eval_strategy": "steps", "eval_steps": 1, "eval_dataset": str(path)}
    with pytest.raises(BadInputError, match=r"evaluation set .* has no column 'answer'"):
        stage_run("grpo", tmp_path / "out", **evaluation)


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_text_is_refused_where_the_tokenizer_ends_every_text(stage, tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    row = {"prompt": "1 + 1 =", "completion": " 2", "chosen": " 2", "rejected": " 3"}
    path.write_text(json.dumps(row) + "\n")
    monkeypatch.setattr("corrpo.training.run_stage.load_starting_tokenizer", lambda *_: ending_tokenizer())
    with pytest.raises(BadInputError, match=r"rows.jsonl .*the tokenizer puts '<eos>' behind every text"):
        stage_run(stage, tmp_path / "out", dataset=str(path))


def test_models_that_cannot_be_trained_say_why(tmp_path):
    from safetensors.torch import load_file, save_file
    from transformers import T5Config, T5ForConditionalGeneration, XLMConfig, XLMWithLMHeadModel

    T5ForConditionalGeneration(T5Config(d_model=16, d_ff=16, num_layers=1)).save_pretrained(tmp_path / "t5")
    config = XLMConfig(emb_dim=16, n_layers=1, n_heads=2, vocab_size=128)
    XLMWithLMHeadModel(config).save_pretrained(tmp_path / "xlm")
    (tmp_path / "lacking").mkdir()
    for path in checkpoint("qwen2", "base").iterdir():
        (tmp_path / "lacking" / path.name).write_bytes(path.read_bytes())
        if "token" in path.name or "chat" in path.name:
            (tmp_path / "t5" / path.name).write_bytes(path.read_bytes())
            (tmp_path / "xlm" / path.name).write_bytes(path.read_bytes())
    tensors = load_file(tmp_path / "lacking" / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, tmp_path / "lacking" / "model.safetensors", metadata={"format": "pt"})
    for name, stage, error, message in (
        ("t5", "sft", UnsupportedModelError, "not a causal LM"),
        ("xlm", "corrpo", UnsupportedModelError, "no attention or other token mixer"),
        ("lacking", "sft", BadInputError, "random ones in their place"),
    ):
        with pytest.raises(error, match=message):
            stage_run(stage, tmp_path / "out", model=str(tmp_path / name))


def test_an_unknown_stage_names_the_known_ones():
    with pytest.raises(BadInputError, match="expected one of sft, dpo, grpo, corrpo, rloo"):
        config_class("ppo")


def written(path: Path, *rows: dict) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_traces_that_are_cut_are_told_and_those_past_the_context_are_refused(tmp_path, capsys):
    short, long = ({"prompt": "1+1=", "completion": "2" * count} for count in (4, 300))
    cut = {"dataset": written(tmp_path / "cut.jsonl", short, short, short, long), "max_steps": 1}
    stage_run("sft", tmp_path / "cut", max_length=32, **cut)
    assert "1 of 4 traces fill max_length=32 and are cut there" in capsys.readouterr().err
    with pytest.raises(BadInputError, match=r"the longest trace has 3\d\d tokens, and the model reads 256"):
        stage_run("sft", tmp_path / "long", max_length=1024, **cut)
    with pytest.raises(BadInputError, match="max_length=3 leaves nothing of any trace"):
        stage_run("sft", tmp_path / "none", max_length=3, **cut)
    for name in ("long", "none"):
        assert not list((tmp_path / name).glob("*"))


@pytest.mark.parametrize("stage", ["grpo", "corrpo"])
def test_prompts_that_leave_no_room_for_a_response_are_refused(stage, tmp_path):
    rows = [{"prompt": "1+1=" * count, "answer": "2"} for count in (1, 2, 60)]
    path = written(tmp_path / "rows.jsonl", *rows)
    with pytest.raises(
        BadInputError, match=r"row 2: the prompt has 2\d\d tokens, and with max_completion_length=16"
    ):
        stage_run(stage, tmp_path / "out", dataset=path)
    assert not (tmp_path / "out").exists()
