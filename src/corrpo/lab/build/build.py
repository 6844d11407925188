"""Train the lab from a seed: two families x (base, safety, reasoning), resumable, and its sample sets.

Other widths are trained the same way, and a `reasoning` that learns another task, and a third family without
attention, `mamba2`; they do not ship.

A finished checkpoint is a folder `checkpoints/FAMILY/KIND`; it is moved there whole and never trained
again. What is under way lives in `.work/FAMILY-KIND`, from where the same command goes on.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from corrpo.errors import BadInputError, CorrpoError, OutputFolderError
from corrpo.lab import FAMILIES, KINDS, SAMPLE_SETS, check_name, checkpoint
from corrpo.lab.build.data import collate, encode, examples, in_batches_of_like_length, write_samples
from corrpo.lab.build.solve_rates import solve_rate
from corrpo.lab.problems import validation_problems
from corrpo.lab.tasks import LabTask, find_lab_task
from corrpo.lab.tokenizer import MAX_TOKENS, build_tokenizer

RECORD, SOLVED = "build.json", "validation_solved"
WIDTH, HEADS = 80, 4
"""Width of the shipped models, and the attention heads of every width."""
BUILT = (*FAMILIES, "mamba2")
"""Families that can be trained: those that ship, and one without attention."""


@dataclass(frozen=True)
class Stage:
    """How one kind of checkpoint is trained."""

    steps: int
    """Optimizer steps, each on one batch; the most there may be if `stop_at` is set."""
    learning_rate: float
    """Peak AdamW learning rate, reached after `warmup` steps."""
    schedule: str = "cosine"
    """Learning rate schedule after the warm-up, by its transformers name."""
    warmup: int = 50
    """Steps of linear warm-up."""
    stop_at: float | None = None
    """Stop once this share of the validation problems is solved by sampling at temperature 1."""


@dataclass(frozen=True)
class Variant:
    """What may differ from the shipped models."""

    width: int = WIDTH
    """Features of a token: a multiple of 8, as each of 4 heads rotates pairs of them."""
    task: str = "sums"
    """What `reasoning` learns, see `corrpo.lab.tasks`; base and safety learn sums in any case."""
    shipped_base: bool = False
    """Start the other kinds from the shipped base, and train none."""

    def __post_init__(self) -> None:
        find_lab_task(self.task)
        if self.width < 2 * HEADS or self.width % (2 * HEADS):
            raise BadInputError(f"width={self.width}: expected a multiple of {2 * HEADS}, such as {WIDTH}")
        if self.shipped_base and self.width != WIDTH:
            raise BadInputError(
                f"width={self.width}: the shipped base is {WIDTH} wide; train a base of this width instead"
            )


@dataclass(frozen=True)
class Recipe:
    """All settings of a build but its seed and families."""

    base: Stage = field(default_factory=lambda: Stage(1200, 2e-3))
    """Pretraining on plain text, direct answers and harmless chats, from random weights."""
    safety: Stage = field(default_factory=lambda: Stage(800, 2e-3))
    """Fine-tuning of the base on refusals in a mixture."""
    reasoning: Stage = field(default_factory=lambda: Stage(3000, 2e-3, "constant_with_warmup", stop_at=0.58))
    """Fine-tuning of the base on worked scratchpads in a mixture."""
    batch_size: int = 32
    """Sequences in a batch."""
    check_every: int = 100
    """Steps between saves of the training state, and between validations where `stop_at` is set."""
    validation: int = 256
    """Validation problems, in neither the training nor the held-out set."""


def build(
    output: Path,
    *,
    seed: int = 0,
    families: Iterable[str] = FAMILIES,
    kinds: Iterable[str] = KINDS,
    recipe: Recipe | None = None,
    variant: Variant | None = None,
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Train every checkpoint of `families` and `kinds` that `output` lacks, and write the three sample sets.

    Deterministic for a seed on one machine (one CPU thread); progress is shown on the terminal. An
    interrupted build goes on from its last saved step when called again with the same settings.

    The families are those of `BUILT`. The base is trained whatever the kinds, as the others start from it,
    unless that is the shipped one.

    Returns the folders of all checkpoints asked for, trained now or before, the base of each family first.

    Raises CorrpoError without the packages of `corrpo[train]`, BadInputError on an unknown family or kind,
    and OutputFolderError if `output` holds something else, or a build with other settings.
    """
    if find_spec("accelerate") is None:
        raise CorrpoError(
            "training the lab needs accelerate, which is not installed: pip install corrpo[train]"
        )
    output, recipe, variant = Path(output), recipe or Recipe(), variant or Variant()
    families = [check_name("family", family, BUILT) for family in families]
    wanted = {"base", *(check_name("kind", kind, KINDS) for kind in kinds)}
    if variant.shipped_base:
        for family in families:
            check_name("family with a shipped base", family, FAMILIES)
        wanted.remove("base")
    record = _open_record(output, seed, recipe, variant)
    write_samples(output / "samples", SAMPLE_SETS, find_lab_task(variant.task))
    finished = []
    for family in families:
        for kind in (kind for kind in KINDS if kind in wanted):
            target = output / "checkpoints" / family / kind
            if target.is_dir():
                say(f"{family}/{kind}: finished before")
            else:
                say(f"{family}/{kind}: training")
                record["checkpoints"][f"{family}/{kind}"] = _train(
                    output, family, kind, seed=seed, recipe=recipe, variant=variant
                )
                _write_json(output / RECORD, record)
                say(f"{family}/{kind}: {record['checkpoints'][f'{family}/{kind}']}")
            finished.append(target)
    shutil.rmtree(output / ".work", ignore_errors=True)
    return finished


def _open_record(output: Path, seed: int, recipe: Recipe, variant: Variant) -> dict[str, Any]:
    """Read the build's record, or start one; refuse a folder of something else."""
    settings = {"schema": 1, "seed": seed, "recipe": dataclasses.asdict(recipe)}
    settings["variant"] = dataclasses.asdict(variant)
    path = output / RECORD
    if not path.exists():
        if output.exists() and any(output.iterdir()):
            raise OutputFolderError(
                f"{output} is not empty and holds no {RECORD}: give a new or empty folder"
            )
        output.mkdir(parents=True, exist_ok=True)
        _write_json(path, {**settings, "checkpoints": {}})
    record = {"variant": dataclasses.asdict(Variant())}  # what records had before there were others
    record |= json.loads(path.read_text(encoding="utf-8"))
    changed = [name for name, value in settings.items() if record.get(name) != value]
    if changed:
        raise OutputFolderError(
            f"{output} holds a build with another {' and '.join(changed)}: "
            "give a new folder, or the settings of that build to go on with it"
        )
    return record


def _write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    partial_path = path.with_name(f".{path.name}")
    partial_path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    partial_path.replace(path)


def new_model(family: str, vocabulary: int, seed: int, width: int = WIDTH) -> Any:
    """A randomly initialised float32 model of a family, 0.2M to 0.3M parameters if 80 wide, on the CPU.

    qwen2: grouped-query attention (4 heads, 2 key-value heads), biases, tied embeddings.
    llama: multi-head attention (4 heads), no biases, untied embeddings.
    mamba2: state-space mixers alone (4 heads, a state of 32), tied embeddings; no attention, no feed-forward.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(seed)
    if family == "mamba2":
        return _new_mamba2(vocabulary, width)
    shared = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_hidden_layers": 4,
        "num_attention_heads": HEADS,
        "max_position_embeddings": MAX_TOKENS,
        "bos_token_id": None,
    }
    if family == "qwen2":
        shared["intermediate_size"] = width * 224 // 80
        config = Qwen2Config(**shared, num_key_value_heads=2, tie_word_embeddings=True)
        return Qwen2ForCausalLM(config)
    shared["intermediate_size"] = width * 208 // 80
    config = LlamaConfig(**shared, num_key_value_heads=HEADS, tie_word_embeddings=False)
    return LlamaForCausalLM(config)


def _new_mamba2(vocabulary: int, width: int) -> Any:
    """Mamba-2 with mixers alone, in chunks that suit short sequences on a CPU."""
    from transformers import Mamba2Config, Mamba2ForCausalLM

    config = Mamba2Config(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=4,
        num_heads=HEADS,
        head_dim=2 * width // HEADS,
        state_size=32,
        n_groups=1,
        chunk_size=32,
        bos_token_id=None,
        pad_token_id=0,
        eos_token_id=1,
        tie_word_embeddings=True,
    )
    return Mamba2ForCausalLM(config)


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


def _train(
    output: Path, family: str, kind: str, *, seed: int, recipe: Recipe, variant: Variant
) -> dict[str, Any]:
    """Train one checkpoint, from where an interrupted run left it, and put it in its place."""
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


def _last_solve_rate(history: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The share of the validation problems that was solved at the last check, if there were checks."""
    rates = [logged[SOLVED] for logged in history if SOLVED in logged]
    return {SOLVED: rates[-1]} if rates else {}


def _trainer(
    output: Path, work: Path, family: str, kind: str, *, seed: int, recipe: Recipe, variant: Variant
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


def _stop_at_solve_rate(threshold: float, recipe: Recipe, task: LabTask, tokenizer: Any) -> Any:
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
