"""Train one checkpoint of the lab by transformers' Trainer, until its steps are done or it solves enough."""

import shutil
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from corrpo.lab import checkpoint
from corrpo.lab.build.architectures import new_model
from corrpo.lab.build.settings import LabRecipe, Stage, Variant
from corrpo.lab.build.solve_rates import solve_rate
from corrpo.lab.build.training_data import collate, encode, examples, in_batches_of_like_length
from corrpo.lab.problems import validation_problems
from corrpo.lab.tasks import LabTask, find_lab_task
from corrpo.lab.tokenizer import build_tokenizer

SOLVED = "validation_solved"


def train_checkpoint(
    output: Path, family: str, kind: str, *, seed: int, recipe: LabRecipe, variant: Variant
) -> dict[str, Any]:
    """Train one checkpoint, from where an interrupted run left it, and put it in its place.

    Returns steps, seconds_since_last_start, cpu_seconds_since_last_start, and for a kind that stops at a
    solve rate validation_solved.
    """
    import torch
    from transformers.utils import logging

    threads, bars = torch.get_num_threads(), logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # one per file saved or loaded; the Trainer's own bar stays
    torch.set_num_threads(1)
    try:
        started, worked = time.perf_counter(), time.process_time()
        work = output / ".work" / f"{family}-{kind}"
        trainer = _trainer(output, work, family, kind, seed=seed, recipe=recipe, variant=variant)
        trainer.train(resume_from_checkpoint=_last_saved(work))
        _deliver(trainer, work / "finished", output / "checkpoints" / family / kind)
        seconds = round(time.perf_counter() - started)
        return {
            "steps": trainer.state.global_step,
            "seconds_since_last_start": seconds,
            "cpu_seconds_since_last_start": round(time.process_time() - worked),
            **_last_solve_rate(trainer.state.log_history),
        }
    finally:
        torch.set_num_threads(threads)
        if bars:
            logging.enable_progress_bar()


def _starting_model(
    output: Path, family: str, kind: str, tokenizer: Any, *, seed: int, variant: Variant
) -> Any:
    """Random weights for a base, the base's weights for the other kinds; markers set for generation."""
    from transformers import AutoModelForCausalLM, GenerationConfig

    if kind == "base":
        model = new_model(family, len(tokenizer), seed, variant.width)
    else:
        own = output / "checkpoints" / family / "base"
        base = checkpoint(family, "base") if variant.shipped_base else own
        model = AutoModelForCausalLM.from_pretrained(base)
    markers = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    model.config.update(markers)
    model.generation_config = GenerationConfig(**markers)
    return model


def _last_solve_rate(history: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The share of the validation problems that was solved at the last check, if there were checks."""
    rates = [logged[SOLVED] for logged in history if SOLVED in logged]
    return {SOLVED: rates[-1]} if rates else {}


def _trainer(
    output: Path, work: Path, family: str, kind: str, *, seed: int, recipe: LabRecipe, variant: Variant
) -> Any:
    """A transformers Trainer over the examples of a kind, read once and in a fixed order."""
    from transformers import Trainer, TrainingArguments

    stage: Stage = getattr(recipe, kind)
    tokenizer: Any = build_tokenizer()
    count = stage.steps * recipe.batch_size
    task = find_lab_task(variant.task)
    made = examples(kind, count, seed, validation=recipe.validation, task=task)
    rows = [encode(example, tokenizer) for example in made]
    arguments = TrainingArguments(
        output_dir=str(work),
        max_steps=stage.steps,
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=stage.learning_rate,
        lr_scheduler_type=stage.schedule,
        warmup_steps=stage.warmup,
        adam_beta2=0.98,
        weight_decay=0.01,
        train_sampling_strategy="sequential",
        save_steps=recipe.check_every,
        save_total_limit=1,
        logging_steps=recipe.check_every,
        seed=seed,
        use_cache=True,
        use_cpu=True,
        bf16=False,
        dataloader_pin_memory=False,
        report_to="none",
    )
    trainer = Trainer(
        model=_starting_model(output, family, kind, tokenizer, seed=seed, variant=variant),
        args=arguments,
        train_dataset=in_batches_of_like_length(rows, recipe.batch_size, seed),  # pyright: ignore[reportArgumentType]
        data_collator=partial(collate, pad_id=tokenizer.pad_token_id),
        processing_class=tokenizer,
    )
    if stage.stop_at is not None:
        trainer.add_callback(_stop_at_solve_rate(stage.stop_at, recipe, task, tokenizer))
    return trainer


def _stop_at_solve_rate(threshold: float, recipe: LabRecipe, task: LabTask, tokenizer: Any) -> Any:
    """A callback that ends training at the first check that reaches the solve rate `threshold`."""
    from transformers import TrainerCallback

    problems = validation_problems(recipe.validation, task)

    class StopAtSolveRate(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step % recipe.check_every:
                return
            rate = solve_rate(kwargs["model"], tokenizer, problems, temperature=1.0)
            print(f"step {state.global_step}: solves {rate} of the validation problems")
            state.log_history.append({SOLVED: rate.value, "step": state.global_step})
            control.should_training_stop = control.should_training_stop or rate.value >= threshold

    return StopAtSolveRate()


def _last_saved(work: Path) -> str | None:
    """The last training state that was saved whole, or None."""
    states = sorted(work.glob("checkpoint-*/trainer_state.json"), key=lambda path: int(path.parent.name[11:]))
    return str(states[-1].parent) if states else None


def _deliver(trainer: Any, finished: Path, target: Path) -> None:
    """Save model and tokenizer only, beside the target, then move them there in one step."""
    trainer.model.save_pretrained(finished)
    build_tokenizer().save_pretrained(finished)
    for path in finished.iterdir():
        path.chmod(0o644)
    target.parent.mkdir(parents=True, exist_ok=True)
    finished.replace(target)
    shutil.rmtree(finished.parent)
