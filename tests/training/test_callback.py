"""`FingerprintCallback` in each kind of Trainer: what it logs and saves, and that nothing else changes."""

import json
import logging
import random

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from corrpo import Fingerprint, measure
from corrpo.errors import BadInputError, OutputFolderError, UnsupportedModelError
from corrpo.lab import checkpoint
from corrpo.training.callback import FingerprintCallback, random_states_kept

SAMPLES = [
    {"id": "dog", "prompt": "The dog ", "response": "walked to the river. The end"},
    {"id": "cat", "prompt": "A cat ", "response": "found the key near a bridge."},
    {"id": "sum", "prompt": "1 + 1 = ", "response": "2, or so they say"},
]
QUICK = {"template": "plain", "estimator": "own", "resamples": 20}
QUIET = {
    "report_to": "none",
    "use_cpu": True,
    "bf16": False,
    "save_strategy": "no",
    "logging_steps": 1,
    "disable_tqdm": True,
    "max_steps": 3,
    "per_device_train_batch_size": 2,
    "learning_rate": 1e-3,
}
TEXTS = ["The dog walked home. ", "A cat sat by the sea ", "They found a key here", "Then it was all done."]
COEFFICIENTS = {"spearman", "spearman_low", "spearman_high", "position_partial", "pearson"}
LOGGED = COEFFICIENTS | {
    "entropy_mean",
    "strength_mean",
    "response_tokens_mean",
    "measured_tokens",
    "seconds",
}


def student():
    """The lab's model with dropout, so that every training step draws random numbers."""
    return AutoModelForCausalLM.from_pretrained(checkpoint("qwen2", "base"), attention_dropout=0.1)


def plain(folder, tokenizer, **arguments) -> Trainer:
    ids = [tokenizer(text).input_ids[:20] for text in TEXTS]
    data = Dataset.from_list([{"input_ids": row, "labels": row} for row in ids])
    settings = TrainingArguments(str(folder), **(QUIET | arguments))
    return Trainer(student(), settings, train_dataset=data, processing_class=tokenizer)


def sft(folder, tokenizer) -> Trainer:
    data = Dataset.from_list([{"prompt": text[:8], "completion": text[8:]} for text in TEXTS])
    return SFTTrainer(
        student(), SFTConfig(str(folder), **QUIET), train_dataset=data, processing_class=tokenizer
    )


def dpo(folder, tokenizer) -> Trainer:
    data = Dataset.from_list(
        [{"prompt": text[:8], "chosen": text[8:], "rejected": text[:3]} for text in TEXTS]
    )
    return DPOTrainer(
        student(), None, DPOConfig(str(folder), **QUIET), train_dataset=data, processing_class=tokenizer
    )


def letters(completions, **_columns) -> list[float]:
    """A reward: how many e's were written."""
    return [float(text.count("e")) for text in completions]


def grpo(folder, tokenizer) -> Trainer:
    data = Dataset.from_list([{"prompt": text[:8]} for text in TEXTS])
    windows = QUIET | {"logging_steps": 3, "num_generations": 2, "max_completion_length": 12}
    return GRPOTrainer(
        student(), letters, GRPOConfig(str(folder), **windows), train_dataset=data, processing_class=tokenizer
    )


def follow(trainer: Trainer, samples=SAMPLES, **options) -> FingerprintCallback:
    callback = FingerprintCallback(trainer, samples, **({"every": 2} | QUICK | options))
    trainer.add_callback(callback)
    return callback


def logged(trainer: Trainer) -> dict[int, dict[str, float]]:
    """What the callback logged, by step."""
    return {
        row["step"]: {name.removeprefix("fingerprint/"): row[name] for name in row if "fingerprint/" in name}
        for row in trainer.state.log_history
        if any("fingerprint/" in name for name in row)
    }


def own_logs(trainer: Trainer) -> list[dict[str, float]]:
    """What the trainer logged by itself, but for what a clock decides."""
    clock = ("time", "per_second")
    rows = [row for row in trainer.state.log_history if not any("fingerprint/" in name for name in row)]
    return [{name: row[name] for name in row if not any(word in name for word in clock)} for row in rows]


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


@pytest.mark.parametrize("make", [plain, sft, dpo, grpo])
def test_a_run_is_the_same_bit_for_bit_with_the_callback(make, tmp_path, lab_tokenizer):
    alone = make(tmp_path / "a", lab_tokenizer)
    alone.train()
    followed = make(tmp_path / "b", lab_tokenizer)
    before = weights(followed)
    follow(followed, [{"prompt": "The "}, *SAMPLES], max_new_tokens=8)
    followed.train()
    after = weights(followed)
    assert all(torch.equal(value, after[name]) for name, value in weights(alone).items())
    assert not any(torch.equal(before[name], after[name]) for name in before if "proj.weight" in name)
    assert own_logs(followed) == own_logs(alone)
    assert any("loss" in row for row in own_logs(followed))
    assert {step: set(row) for step, row in logged(followed).items()} == {0: LOGGED, 2: LOGGED}


class Watch(TrainerCallback):
    """Notes the random states, the mode and the gradients' flags at the end of every step."""

    def __init__(self):
        self.seen = []

    def on_step_end(self, args, state, control, model=None, **kwargs):
        flags = [(module.training, type(module).__name__) for module in model.modules()]
        learns = [parameter.requires_grad for parameter in model.parameters()]
        states = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002
        self.seen.append((states, flags, learns, sorted(model.__dict__), control.should_log))


def test_random_states_modes_and_the_next_log_are_left_as_found(tmp_path, lab_tokenizer):
    trainer = plain(tmp_path, lab_tokenizer)
    before, after = Watch(), Watch()
    trainer.add_callback(before)
    follow(trainer, [{"prompt": "The "}], every=1, max_new_tokens=8, untrained=True)
    trainer.add_callback(after)
    trainer.train()
    assert len(before.seen) == 3
    assert before.seen == after.seen


def test_even_code_that_draws_from_the_global_generators_does_not_disturb_them():
    def draw() -> tuple[float, float, float]:
        return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002

    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    with random_states_kept():
        inside = draw()
    assert draw() == inside
    assert draw() != inside


def test_what_is_saved_is_what_measuring_the_checkpoint_gives(tmp_path, lab_tokenizer):
    path = tmp_path / "letters.jsonl"
    path.write_text("".join(json.dumps(sample) + "\n" for sample in [*SAMPLES, {"prompt": "The "}]))
    trainer = plain(tmp_path / "run", lab_tokenizer, save_strategy="steps", save_steps=2)
    follow(trainer, path, output=tmp_path / "track", max_new_tokens=8, max_tokens=10)
    trainer.train()
    assert {folder.name for folder in (tmp_path / "track").iterdir()} == {"step-000000", "step-000002"}
    saved = Fingerprint.load(tmp_path / "track" / "step-000002")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "checkpoint-2")
    options = QUICK | {"max_new_tokens": 8, "max_tokens": 10, "permutations": 0}
    again = measure(model, lab_tokenizer, path, **options)
    assert saved.tokens.equals(again.tokens)
    assert saved.statistics == again.statistics
    assert saved.samples == again.samples
    row = logged(trainer)[2]
    measured = saved.tokens.drop_nulls("strength")
    assert row["spearman"] == saved.spearman.value
    assert row["spearman_low"] == saved.spearman.low
    assert row["position_partial"] == saved.position_partial.value
    assert row["pearson"] == saved.pearson.value
    assert row["entropy_mean"] == pytest.approx(measured["entropy_bits"].mean())
    assert row["strength_mean"] == pytest.approx(measured["strength"].mean())
    assert row["response_tokens_mean"] == pytest.approx(saved.responses["response_tokens"].mean())
    assert (
        row["measured_tokens"]
        == measured.height
        == sum(min(10, n) for n in saved.responses["response_tokens"])
    )
    assert row["seconds"] > 0


def test_mixed_precision_is_for_the_training_step_alone(tmp_path, lab_tokenizer):
    trainer = plain(tmp_path / "run", lab_tokenizer, bf16=True)
    follow(trainer, output=tmp_path / "track", every=3)
    trainer.train()
    assert "_original_forward" in trainer.model.__dict__  # accelerate's mixed precision was on
    first = Fingerprint.load(tmp_path / "track" / "step-000000")
    float32 = measure(student(), lab_tokenizer, SAMPLES, **QUICK, permutations=0)
    assert first.tokens.equals(float32.tokens)


def test_a_resumed_run_measures_no_step_twice(tmp_path, lab_tokenizer, monkeypatch):
    options = {"save_strategy": "steps", "save_steps": 1}
    first = plain(tmp_path / "run", lab_tokenizer, **options)
    follow(first, output=tmp_path / "track", every=1)
    first.train()
    steps = []
    monkeypatch.setattr("corrpo.training.callback.measure", lambda *args, **kwargs: steps.append(1))
    resumed = plain(tmp_path / "run", lab_tokenizer, **options)
    follow(resumed, output=tmp_path / "track", every=1)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-1"))
    assert not steps
    timeless = [
        {step: row | {"seconds": 0.0} for step, row in logged(trainer).items()}
        for trainer in (first, resumed)
    ]
    assert timeless[0] == timeless[1]


@pytest.mark.slow
def test_a_run_that_took_another_course_keeps_the_earlier_one_apart(tmp_path, lab_tokenizer, caplog):
    for rate in (1e-3, 2e-3):
        trainer = plain(tmp_path / "run", lab_tokenizer, learning_rate=rate)
        follow(trainer, output=tmp_path / "track", every=1)
        trainer.train()
    assert "step-000001 was measured on other weights" in caplog.text
    steps = {path.name for path in (tmp_path / "track").glob("step-*")}
    assert steps == {f"step-00000{i}" for i in range(4)}
    earlier = {path.name for path in (tmp_path / "track" / "earlier-1").iterdir()}
    assert earlier == steps - {"step-000000"}  # before the first update both runs are the same
    assert (
        Fingerprint.load(tmp_path / "track" / "step-000003").spearman.value == logged(trainer)[3]["spearman"]
    )


def test_a_diverged_model_is_reported_and_the_run_goes_on(tmp_path, lab_tokenizer, caplog):
    trainer = plain(tmp_path / "run", lab_tokenizer)
    follow(trainer, output=tmp_path / "track", at_start=False)

    class Diverge(TrainerCallback):
        def on_step_begin(self, args, state, control, model=None, **kwargs):
            if state.global_step == 1:
                model.lm_head.weight.data.fill_(float("nan"))

    trainer.add_callback(Diverge())
    with caplog.at_level(logging.WARNING, logger="corrpo.training.callback"):
        trainer.train()
    assert trainer.state.global_step == 3
    assert set(logged(trainer)[2]) == {"undefined", "seconds"}
    assert logged(trainer)[2]["undefined"] == 1
    assert "step 2" in caplog.text
    assert "NaN or infinite" in caplog.text
    assert not list((tmp_path / "track").iterdir())


def test_what_does_not_exist_is_left_out(tmp_path, lab_tokenizer, caplog):
    trainer = plain(tmp_path, lab_tokenizer)
    follow(trainer, [{"prompt": "The ", "response": "ab"}])
    with caplog.at_level(logging.WARNING, logger="corrpo.training.callback"):
        trainer.train()
    row = logged(trainer)[2]
    assert row["undefined"] == 1
    assert row["measured_tokens"] == 2
    assert not COEFFICIENTS & set(row)
    assert (
        "step 2: coefficients that do not exist are not logged: spearman: a correlation needs at least 3"
        in caplog.text
    )


def test_any_other_error_ends_the_run(tmp_path, lab_tokenizer, monkeypatch):
    trainer = plain(tmp_path, lab_tokenizer)
    follow(trainer, at_start=False)

    def fails(*args, **kwargs):
        raise RuntimeError("a bug")

    monkeypatch.setattr("corrpo.training.callback.measure", fails)
    with pytest.raises(RuntimeError, match="a bug"):
        trainer.train()
    assert trainer.model.training


def test_mistakes_are_reported_before_any_training(tmp_path, lab_tokenizer):
    trainer = plain(tmp_path / "run", lab_tokenizer)
    (tmp_path / "bad.jsonl").write_text('{"prompt": "The "}\n{"response": "x"}\n')
    (tmp_path / "file").write_text("")
    for samples, options, error, words in [
        (tmp_path / "bad.jsonl", {}, BadInputError, 'bad.jsonl line 2: "prompt" is missing'),
        ([], {}, BadInputError, "no samples"),
        ([{"prompt": "a" * 1000}], {}, BadInputError, "does not fit into the model's context"),
        (SAMPLES, {"every": 0}, BadInputError, "every=0: expected a whole number"),
        (SAMPLES, {"resample": 3}, BadInputError, "no option 'resample'; it has estimator"),
        (SAMPLES, {"max_tokens": 1}, BadInputError, "max_tokens=1: expected 2 or more"),
        (SAMPLES, {"layers": (9,)}, BadInputError, "9"),
        (SAMPLES, {"output": tmp_path / "file"}, OutputFolderError, "cannot make the folder"),
    ]:
        with pytest.raises(error, match=words):
            FingerprintCallback(trainer, samples, **(QUICK | options))
    trainer.processing_class = None
    with pytest.raises(BadInputError, match="processing_class is NoneType"):
        FingerprintCallback(trainer, SAMPLES)


def test_a_model_that_the_estimator_does_not_fit(tmp_path, lab_tokenizer):
    from transformers import XLMConfig, XLMWithLMHeadModel

    trainer = Trainer(
        XLMWithLMHeadModel(XLMConfig(emb_dim=16, n_layers=1, n_heads=2)),
        TrainingArguments(str(tmp_path), **QUIET),
        processing_class=lab_tokenizer,
    )
    with pytest.raises(UnsupportedModelError, match="no attention or other token mixer"):
        FingerprintCallback(trainer, SAMPLES)


def test_under_zero3_the_estimator_is_tried_when_training_begins(tmp_path, lab_tokenizer):
    trainer = plain(tmp_path, lab_tokenizer)
    head = trainer.model.lm_head.weight
    head.ds_id = 0  # the mark of a parameter that DeepSpeed has partitioned
    follow(trainer, layers=(9,), at_start=False)
    del head.ds_id
    with pytest.raises(BadInputError, match="9"):
        trainer.train()
    assert trainer.state.global_step == 0


def test_an_output_measured_otherwise_is_refused(tmp_path, lab_tokenizer):
    trainer = plain(tmp_path / "run", lab_tokenizer, max_steps=1)
    follow(trainer, output=tmp_path / "track")
    trainer.train()
    with pytest.raises(OutputFolderError, match="estimator was 'own', now 'last'"):
        follow(trainer, output=tmp_path / "track", estimator="last")
    with pytest.raises(OutputFolderError, match="the samples were others"):
        follow(trainer, SAMPLES[:2], output=tmp_path / "track")
