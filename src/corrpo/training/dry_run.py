"""What a stage of training would take on this machine: time and peak memory, from a few sequences run here.

The trainer is made as for the stage, in a folder that is removed. One and two sequences go forward and back
through its loss, beside gradients of a micro-batch before them where a step accumulates; a batch is taken to
cost in proportion. Rollouts are taken to be as long as they may be, so that times of RL are upper bounds. The
optimizer is tried on a small matrix, and grows with the parameters. Loading, evaluations while training, task
rewards and the passes of a reference model are not counted.
"""

import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import torch
from datasets import Dataset
from transformers import Trainer

from corrpo.errors import BadInputError
from corrpo.models.generation.backends.transformers import TransformersEngine
from corrpo.models.memory import free_memory, in_memory
from corrpo.models.probing import Cost, generation_cost, peak_bytes_of, seconds_of, weight_bytes
from corrpo.models.token_limits import vocabulary_size
from corrpo.rewards.rollouts import JUDGED_EVERY, RolloutMeter
from corrpo.rewards.strength_fit import StrengthFit
from corrpo.samples import Sample, encode_prompt
from corrpo.training.cost_file import generations_of_a_step
from corrpo.training.recipe import RecipeArguments
from corrpo.training.run_stage import LESS_MEMORY, check_settings, prepared_trainer, quick_on_cpu
from corrpo.training.stages import find_stage
from corrpo.training.training_progress import ProgressLine

_PROBED_SHAPE = (1024, 1024)
"""Of the parameter that the optimizer is tried on: Adafactor keeps less of a matrix than of a vector."""
_TYPICAL_BATCHES, _TYPICAL_PROMPTS, _TYPICAL_TRACES = 200, 64, 256


@dataclass(frozen=True)
class TrainingDryRun:
    """What a stage would do, and what it would take on this machine, in one process.

    Attributes:
        rows: of the dataset.
        steps: of the optimizer.
        sequences: that a step learns from.
        longest: tokens of the longest sequence.
        trained: parameters that are trained.
        costs: kind of work -> what it takes over all steps; peak memory is beside the weights.
        weight_bytes: of the model.
        free_bytes: memory that is free now, with the model loaded.
        remarks: what the stage itself would say before its first step.
    """

    rows: int
    steps: int
    sequences: int
    longest: int
    trained: int
    costs: dict[str, Cost]
    weight_bytes: int
    free_bytes: int
    remarks: Sequence[str]


def dry_run(stage: str, recipe: RecipeArguments, config: Any) -> TrainingDryRun:
    """Load data and model, try a few sequences, and tell what `train` would take; nothing is kept.

    Raises:
        BadInputError: as `train`; a stage or an engine whose work cannot be tried here; or memory that is too
            little for weights, gradients and optimizer, whatever the batch.
        OutOfMemoryError: it is too little for the model with two of the longest sequences.
    """
    if find_stage(stage).rows == "preferences" or getattr(config, "use_vllm", False):
        raise BadInputError(
            "a dry run tries SFT, and RL with rollouts by transformers: leave --dry-run out for dpo; give "
            "--use_vllm false for others"
        )
    with TemporaryDirectory() as folder, in_memory("the model and two sequences", LESS_MEMORY):
        check_settings(stage, recipe, config)
        config.output_dir = folder
        trainer, tokenizer, remarks = prepared_trainer(stage, recipe, config, ProgressLine(stage))
        model = trainer.accelerator.unwrap_model(trainer.model)
        device = next(model.parameters()).device
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        with quick_on_cpu(trainer):
            return _tried(stage, config, trainer, tokenizer, trained, free_memory(device), remarks)


def _tried(
    stage: str,
    config: Any,
    trainer: Any,
    tokenizer: Any,
    trained: Sequence[torch.Tensor],
    free: int,
    remarks: Sequence[str],
) -> TrainingDryRun:
    model = trainer.accelerator.unwrap_model(trainer.model)
    sequences = config.per_device_train_batch_size * config.gradient_accumulation_steps
    rows = trainer.train_dataset
    draws = find_stage(stage).draws_rollouts
    per_epoch = len(rows) * (config.num_generations * config.num_iterations if draws else 1) / sequences
    steps = config.max_steps if config.max_steps > 0 else math.ceil(per_epoch * config.num_train_epochs)
    count = sum(parameter.numel() for parameter in trained)
    update = _optimizer_cost(config, trained)
    gradients = sum(parameter.numel() * parameter.element_size() for parameter in trained)
    if update.peak_bytes + gradients > free:
        raise BadInputError(
            f"gradients and optimizer of {count:,} parameters take {update.peak_bytes + gradients:,.0f} "
            f"bytes, and {free:,} are free beside the weights: train an adapter (--use_peft true), or take a "
            "smaller model"
        )
    costs = {}
    if draws:
        prompts = _prompts(rows, tokenizer)
        longest = max(map(len, prompts)) + config.max_completion_length
        costs |= _rollout_costs(config, trainer, tokenizer, prompts, steps)
        typical = statistics.fmean(map(len, prompts)) + config.max_completion_length
    else:
        lengths = [len(ids) for ids in rows["input_ids"]]
        longest = max(lengths)
        typical = _padded_length(lengths, config.per_device_train_batch_size)
    batch = _batch_cost(config, trainer, draws, round(typical), longest, gradients)
    each = batch.seconds * config.gradient_accumulation_steps + update.seconds
    costs["training"] = Cost(steps * each, batch.peak_bytes)
    held = update.peak_bytes
    return TrainingDryRun(
        rows=len(rows),
        steps=steps,
        sequences=sequences,
        longest=longest,
        trained=count,
        costs={name: Cost(cost.seconds, cost.peak_bytes + held) for name, cost in costs.items()},
        weight_bytes=weight_bytes(model),
        free_bytes=free,
        remarks=remarks,
    )


def _optimizer_cost(config: Any, trained: Sequence[torch.Tensor]) -> Cost:
    """Seconds of an update, and bytes of its state, from a step on a small matrix."""
    first = trained[0]
    tried = torch.nn.Parameter(torch.zeros(_PROBED_SHAPE, dtype=first.dtype, device=first.device))
    kind, settings = Trainer.get_optimizer_cls_and_kwargs(config)
    optimizer = kind([tried], **settings)
    tried.grad = torch.ones_like(tried)
    optimizer.step()
    state = [
        value for values in optimizer.state.values() for value in values.values() if torch.is_tensor(value)
    ]
    share = sum(parameter.numel() for parameter in trained) / tried.numel()
    seconds = seconds_of(optimizer.step)
    return Cost(seconds * share, sum(value.numel() * value.element_size() for value in state) * share)


def _padded_length(lengths: Sequence[int], batch: int) -> float:
    """Tokens to which the sequences of a batch are padded, on average over batches drawn at random."""
    rng = random.Random(0)
    return statistics.fmean(max(rng.choice(lengths) for _ in range(batch)) for _ in range(_TYPICAL_BATCHES))


def _prompts(rows: Dataset, tokenizer: Any) -> list[list[int]]:
    """The tokens of prompts drawn at random, and of that with the most characters."""
    texts = rows["prompt"]
    drawn = random.Random(0).sample(range(len(texts)), min(_TYPICAL_PROMPTS, len(texts)))
    drawn.append(max(range(len(texts)), key=lambda number: len(str(texts[number]))))
    return [
        encode_prompt(Sample(str(number), texts[number], where=f"row {number}"), tokenizer)
        for number in drawn
    ]


def _rollout_costs(
    config: Any, trainer: Any, tokenizer: Any, prompts: Sequence[list[int]], steps: int
) -> dict[str, Cost]:
    """What writing rollouts takes over all steps, and measuring them for the inversion reward."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    batch = config.per_device_train_batch_size * config.steps_per_generation
    batches = steps * generations_of_a_step(config)
    written = [prompts[number % len(prompts)] for number in range(batch)]
    engine = TransformersEngine(model, tokenizer)
    one = generation_cost(engine, next(model.parameters()).device, [(written, config.max_completion_length)])
    costs = {"generation": Cost(batches * one.seconds, one.peak_bytes)}
    meter = getattr(trainer, "_meter", None)
    if meter is not None:
        share = 1 / min(batch, JUDGED_EVERY)
        measured = _inversion_cost(model, meter, prompts[0], config.max_completion_length, share)
        costs["inversion"] = Cost(batches * batch * measured.seconds, measured.peak_bytes)
    return costs


def _inversion_cost(
    model: Any, meter: RolloutMeter, prompt: list[int], completion: int, judged: float
) -> Cost:
    """Of measuring a rollout of the longest length, with its part in what is `judged` for the fit."""
    rollout = model, [prompt], [_random_ids(model, completion).tolist()]
    fit = StrengthFit()
    began = seconds_of(lambda: fit.add(meter.judge(*rollout, fit)), repeats=1) if meter.fits else 0.0

    def measure() -> None:
        meter(*rollout, fit=fit)

    measure()
    peak = peak_bytes_of(measure, next(model.parameters()).device)
    return Cost(seconds_of(measure, repeats=1) + judged * began, peak)


def _batch_cost(
    config: Any, trainer: Any, draws: bool, typical: int, longest: int, gradient_bytes: int
) -> Cost:
    """Of one forward and backward of a batch: its seconds at the typical length, its peak at the longest.

    Where a step accumulates, gradients are there before, and count.
    """
    model, size = trainer.model, config.per_device_train_batch_size
    device = next(model.parameters()).device
    trainer.current_gradient_accumulation_steps = config.gradient_accumulation_steps
    accumulates = config.gradient_accumulation_steps > 1
    make = _rollout_batch if draws else _trace_batch

    def run(count: int, length: int) -> Callable[[], None]:
        inputs = make(config, trainer, count, length)

        def once() -> None:
            model.train()
            with trainer.compute_loss_context_manager():
                loss = trainer.compute_loss(model, inputs)
            trainer.accelerator.backward(loss)
            if not accumulates:
                model.zero_grad(set_to_none=True)

        return once

    if accumulates:
        run(1, typical)()
    counts = (1, 2) if size > 1 else (1,)
    peaks = [peak_bytes_of(run(count, longest), device) for count in counts]
    seconds = [seconds_of(run(count, typical), repeats=1) for count in counts]
    model.zero_grad(set_to_none=True)
    grown, held = size - counts[-1], gradient_bytes if accumulates else 0
    return Cost(
        seconds[-1] + grown * max(0.0, seconds[-1] - seconds[0]),
        held + peaks[-1] + grown * max(0, peaks[-1] - peaks[0]),
    )


def _trace_batch(config: Any, trainer: Any, count: int, length: int) -> Any:
    """Random traces as TRL's collator gives them, of which as much is scored as of the data."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    ids = _random_ids(model, count * length).view(count, length)
    labels = ids.clone()
    labels[:, : round(_unscored_share(trainer.train_dataset) * length)] = -100
    rows = [
        {"input_ids": row.tolist(), "labels": label.tolist()} for row, label in zip(ids, labels, strict=True)
    ]
    collated = trainer.data_collator(rows)
    return {name: value.to(ids.device) for name, value in collated.items()}


def _unscored_share(traces: Dataset) -> float:
    """Part of the tokens, over traces drawn at random, that are not learned from, such as prompts."""
    if "labels" not in traces.column_names:
        return 0.0
    drawn = random.Random(0).sample(range(len(traces)), min(_TYPICAL_TRACES, len(traces)))
    labels = [label for row in traces.select(drawn)["labels"] for label in row]
    return labels.count(-100) / len(labels)


def _rollout_batch(config: Any, trainer: Any, count: int, length: int) -> Any:
    """Random rollouts as TRL's trainers hand them to their loss."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    completion = config.max_completion_length
    ids = _random_ids(model, count * length).view(count, length)
    prompt, written = ids[:, :-completion], ids[:, -completion:]
    rows, tokens = torch.zeros(count, device=ids.device), torch.zeros(written.shape, device=ids.device)
    return {
        "prompt_ids": prompt,
        "prompt_mask": torch.ones_like(prompt),
        "completion_ids": written,
        "completion_mask": torch.ones_like(written),
        "advantages": rows,
        "old_logps": rows,
        "ref_per_token_logps": tokens,
        "num_items_in_batch": torch.tensor(float(written.numel()), device=ids.device),
    }


def _random_ids(model: Any, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(vocabulary_size(model), (count,), generator=generator)
    return ids.to(next(model.parameters()).device)
