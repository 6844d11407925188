"""One stage of training run to its end: settings checked, data and model loaded, trained, saved.

A run lives in `output_dir`: `recipe.json` (every setting and version), `metrics.jsonl` (every log),
`cost.jsonl` (seconds and generated tokens so far), `README.md` (the model card), `checkpoint-STEP` folders,
and at the end `final`. Each of the last two holds config, weights and tokenizer, and `corrpo measure` reads
it.

With LoRA a checkpoint holds adapters alone. `final` is merged; to merge a checkpoint:

    from peft import AutoPeftModelForCausalLM
    AutoPeftModelForCausalLM.from_pretrained("out/checkpoint-200").merge_and_unload().save_pretrained("merged")

and copy the tokenizer's files beside the weights.

A run that is resumed goes on from the last complete checkpoint and, on one machine, ends with the weights
of an undisturbed run: weights, optimizer, schedule, random states and the order of the data are as they
were. What differs: averages of metrics between two logs begin anew; and where a batch of rollouts serves
several optimizer steps (num_iterations above 1, or steps_per_generation above gradient_accumulation_steps)
and the checkpoint lies between these, the rollouts are drawn anew.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from safetensors import SafetensorError
from transformers import PrinterCallback, Trainer, TrainerCallback, get_scheduler
from transformers.integrations.integration_utils import (
    INTEGRATION_TO_CALLBACK,
    get_available_reporting_integrations,
)
from trl.trainer.utils import get_peft_config

from corrpo.errors import (
    BadInputError,
    OutOfMemoryError,
    OutputFolderError,
    UnsupportedModelError,
    check_known,
    first_line,
    require_packages,
)
from corrpo.jobs.folder_lock import TIME_TO_END, locked_folder
from corrpo.models.generation.on_cpu import generating_on_cpu
from corrpo.models.matrix_products import bfloat16_products
from corrpo.models.memory import in_memory
from corrpo.models.threads import threads_for
from corrpo.rewards.task_rewards import find_task_reward, rewards_of_answers
from corrpo.training.cost_file import CostFile
from corrpo.training.cpu_token_scores import token_scores_on_cpu
from corrpo.training.data import (
    evaluation_source,
    load_preferences,
    load_prompts,
    load_traces,
    training_source,
)
from corrpo.training.final_model import save_final
from corrpo.training.metrics_file import MetricsFile
from corrpo.training.model_card import write_model_card
from corrpo.training.prompts import check_prompt_room, check_text, trace_lengths
from corrpo.training.recipe import RecipeArguments, evaluates, rounds_factors
from corrpo.training.resumed_data_order import SameOrder
from corrpo.training.resuming import last_resumable
from corrpo.training.run_record import (
    describe_start,
    keep_fit_tokens,
    starting_checkpoint,
    write_run_record,
)
from corrpo.training.saving_errors import why_not_saved
from corrpo.training.stages import find_stage
from corrpo.training.starting_model import (
    load_starting_model,
    load_starting_tokenizer,
    starting_context,
)
from corrpo.training.training_progress import ProgressLine
from corrpo.training.unrewarded import UnrewardedWarning

LESS_MEMORY = (
    "lower --per_device_train_batch_size and raise --gradient_accumulation_steps by as much, give "
    "--gradient_checkpointing true, or train an adapter (--use_peft true)"
)
"""What to do where memory is too little."""


def train(stage: str, recipe: RecipeArguments, config: Any, *, progress: ProgressLine | None = None) -> Path:
    """Run one stage to its end.

    Args:
        stage: "sft", "dpo", "grpo", "corrpo" or "rloo".
        recipe: model, data, rewards, and whether to resume; see `parse_recipe`.
        config: of `config_class(stage)`.
        progress: what shows the run; a line on standard error if not given.

    Returns:
        `output_dir/final`, a model and tokenizer that `corrpo.load_model` reads.

    Raises:
        BadInputError: settings, data, a model or rewards that cannot be used; before any training.
        UnsupportedModelError: not a causal LM, or with CorR-PO one that no estimator fits.
        OutputFolderError: `output_dir` holds a run and `resume` is not set, or one of another stage; another
            process trains there; it cannot be written to, as on a full disk.
        OutOfMemoryError: memory ran out, with what is kept.
        KeyboardInterrupt: Ctrl-C, with what is kept and how to go on.
    """
    check_settings(stage, recipe, config)
    folder = Path(config.output_dir)
    locked = locked_folder(folder, TIME_TO_END) if config.process_index == 0 else nullcontext()
    with locked, in_memory(f"training in {folder}", LESS_MEMORY):
        return _trained(stage, recipe, config, folder, progress or ProgressLine(stage))


def _trained(stage: str, recipe: RecipeArguments, config: Any, folder: Path, line: ProgressLine) -> Path:
    with config.main_process_first(desc="reading the folder"):
        checkpoint = starting_checkpoint(stage, folder, recipe)
        kept = keep_fit_tokens(folder, recipe, config)
    trainer, _, remarks = prepared_trainer(stage, recipe, config, line)
    with quick_on_cpu(trainer), line:
        if trainer.is_world_process_zero():
            changed = write_run_record(stage, folder, recipe, config, checkpoint)
            line.say(*describe_start(recipe, config, checkpoint, changed), *kept, *remarks)
        with _saying_how_to_go_on(stage, folder):
            with generating_on_cpu(trainer.model):
                trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
            final = save_final(trainer, folder, peft=recipe.use_peft)
        if trainer.is_world_process_zero():
            write_model_card(find_stage(stage), final, recipe, config)
        return final


@contextmanager
def quick_on_cpu(trainer: Any) -> Iterator[None]:
    """Threads, scores of tokens and, with `bf16`, matrix products as they are quickest on a CPU."""
    products = bfloat16_products() if rounds_factors(trainer.args) else nullcontext()
    with threads_for(trainer.model), token_scores_on_cpu(trainer.accelerator.device), products:
        yield


def prepared_trainer(
    stage: str, recipe: RecipeArguments, config: Any, line: ProgressLine
) -> tuple[Any, Any, list[str]]:
    """The trainer of a stage, its tokenizer, and what is to be said of the traces; see `train` for errors.

    The settings are to be checked before.
    """
    config.disable_tqdm = True
    if rounds_factors(config):
        config.mixed_precision = "no"
    tokenizer = load_starting_tokenizer(recipe, config)
    with config.main_process_first(desc="reading the data"):
        data = _load_data(stage, recipe, config, tokenizer)
    _check_sizes(stage, config, data[0])
    model = load_starting_model(recipe, config)
    with threads_for(model):
        trainer = _make_trainer(stage, recipe, config, model, tokenizer, data, line)
    return trainer, tokenizer, _check_traces(stage, recipe, config, trainer)


def check_run(stage: str, recipe: RecipeArguments, config: Any) -> None:
    """Refuse, as `train` would, what can be refused without the weights: settings, tokenizer, data."""
    check_settings(stage, recipe, config)
    rows, _ = _load_data(stage, recipe, config, load_starting_tokenizer(recipe, config))
    _check_sizes(stage, config, rows)


def check_settings(stage: str, recipe: RecipeArguments, config: Any) -> None:
    """Refuse what can be refused without reading anything."""
    if config.resume_from_checkpoint is not None:
        raise BadInputError(
            f"resume_from_checkpoint={config.resume_from_checkpoint!r}: use --resume, which goes on from the "
            "last complete checkpoint in output_dir"
        )
    if recipe.resume and config.save_only_model:
        raise BadInputError("save_only_model keeps no optimizer, so nothing can be resumed: leave it out")
    if evaluates(config) and evaluation_source(recipe) is None:
        raise BadInputError(f"eval_strategy={config.eval_strategy.value} needs an eval_dataset or eval_split")
    _check_numbers(config)
    _check_packages(config)
    if find_stage(stage).draws_rollouts:
        _check_rewards(stage, recipe, config)


def _check_numbers(config: Any) -> None:
    """Refuse what no optimizer and no schedule can be made with."""
    for name, value in vars(config).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise BadInputError(f"{name}={value}: expected a finite number")
    weight = torch.nn.Parameter(torch.zeros(1))
    try:
        kind, settings = Trainer.get_optimizer_cls_and_kwargs(config)
        if kind.__module__.startswith("torch."):
            optimizer = kind([weight], weight_decay=config.weight_decay, **settings)
            get_scheduler(
                config.lr_scheduler_type,
                optimizer,
                config.get_warmup_steps(1),
                1,
                config.lr_scheduler_kwargs or None,
            )
    except (ValueError, TypeError) as error:
        raise BadInputError(f"these settings cannot be trained with: {first_line(error)}") from error


def _check_packages(config: Any) -> None:
    """Refuse what needs a package that is not here: another engine for rollouts, a tracker."""
    if getattr(config, "use_vllm", False):
        require_packages("use_vllm", "vllm", extra="vllm")
    for name in config.report_to:
        check_known("report_to", name, INTEGRATION_TO_CALLBACK)
        if name not in get_available_reporting_integrations():
            raise BadInputError(
                f"report_to={name} needs a package that is not installed: pip install "
                f"{name.replace('_', '-')}; or give report_to none"
            )


def _check_rewards(stage: str, recipe: RecipeArguments, config: Any) -> None:
    names = [find_task_reward(name).function.__name__ for name in recipe.rewards]
    if len(set(names)) < len(names):
        raise BadInputError(
            f"rewards={recipe.rewards}: each once, and of exact and math, which both score accuracy, only one"
        )
    gate = getattr(config, "inversion_gate", "all")
    if gate != "all" and (not names or not find_task_reward(recipe.rewards[0]).needs_answer):
        raise BadInputError(
            f"inversion_gate={gate} goes by the first of rewards={recipe.rewards}; put the one that checks "
            f"the answer first ({' or '.join(rewards_of_answers())})"
        )
    if not names and stage == "grpo":
        raise BadInputError("grpo needs rewards: of exact, math, format at least one")
    if config.reward_weights is not None and stage == "grpo" and len(config.reward_weights) != len(names):
        raise BadInputError(
            f"reward_weights={config.reward_weights}: expected one for each of rewards={recipe.rewards}"
        )


def _check_sizes(stage: str, config: Any, rows: Dataset) -> None:
    """TRL leaves a batch out that it cannot fill: with too few prompts it would train on nothing."""
    if not find_stage(stage).draws_rollouts:
        return
    needed = config.generation_batch_size // config.num_generations
    if len(rows) < needed:
        raise BadInputError(
            f"the dataset has {len(rows)} prompts, and one generation batch takes {needed} "
            f"(generation_batch_size {config.generation_batch_size} / num_generations "
            f"{config.num_generations}): give more rows, or a smaller per_device_train_batch_size or "
            "gradient_accumulation_steps"
        )


def _check_traces(stage: str, recipe: RecipeArguments, config: Any, trainer: Any) -> list[str]:
    """What is to be said of the lengths of traces, which TRL has tokenized."""
    if find_stage(stage).rows != "traces" or config.packing:
        return []
    source = str(training_source(recipe))
    return trace_lengths(source, trainer.train_dataset, config.max_length, starting_context(recipe, config))


def _load_data(
    stage: str, recipe: RecipeArguments, config: Any, tokenizer: Any
) -> tuple[Dataset, Dataset | None]:
    """The rows of training and of evaluation, checked."""
    sources = training_source(recipe), evaluation_source(recipe) if evaluates(config) else None
    kind = find_stage(stage).rows
    if kind == "traces":
        chat = bool(tokenizer.chat_template or config.chat_template_path)
        loaded = [
            source and load_traces(source, chat=chat, text_column=config.dataset_text_field)
            for source in sources
        ]
    elif kind == "preferences":
        chat = bool(tokenizer.chat_template)
        loaded = [source and load_preferences(source, chat=chat) for source in sources]
    else:
        chat = bool(tokenizer.chat_template)
        loaded = [source and load_prompts(source, recipe, chat=chat) for source in sources]
        context = starting_context(recipe, config)
        for source, rows in zip(sources, loaded, strict=True):
            if rows:
                most = config.max_completion_length
                check_prompt_room(str(source), rows["prompt"], tokenizer, context, most)
    for source, rows in zip(sources, loaded, strict=True):
        if rows and any(isinstance(value, str) for name, value in rows[0].items() if name != "answer"):
            check_text(str(source), tokenizer)
    return loaded[0], loaded[1]  # pyright: ignore[reportReturnType]


def _make_trainer(
    stage: str,
    recipe: RecipeArguments,
    config: Any,
    model: Any,
    tokenizer: Any,
    data: tuple[Dataset, Dataset | None],
    line: ProgressLine,
) -> Any:
    rewards: dict[str, Any] = {}
    files = [kind(Path(config.output_dir)) for kind in (MetricsFile, CostFile)]
    callbacks: list[TrainerCallback] = [line, SameOrder(), *files]
    if find_stage(stage).draws_rollouts:
        tasks = [find_task_reward(name) for name in recipe.rewards]
        functions = [task.function_for(tokenizer, config.chat_template_kwargs) for task in tasks]
        watches = [UnrewardedWarning(task, line.say) if task.needs_answer else None for task in tasks]
        callbacks += filter(None, watches)
        rewards["reward_funcs"] = [
            watch.watched(function) if watch else function
            for watch, function in zip(watches, functions, strict=True)
        ]
    try:
        trainer = find_stage(stage).trainer_class()(
            model=model,
            args=config,
            train_dataset=data[0],
            eval_dataset=data[1],
            processing_class=tokenizer,
            peft_config=get_peft_config(recipe),
            callbacks=callbacks,
            **rewards,
        )
    except (BadInputError, UnsupportedModelError):
        raise
    except ValueError as error:
        raise BadInputError(f"these settings cannot be trained with: {error}") from error
    trainer.remove_callback(PrinterCallback)

    def write_card(*_: Any, **__: Any) -> None:
        if trainer.is_world_process_zero():
            write_model_card(find_stage(stage), Path(config.output_dir), recipe, config)

    trainer.create_model_card = write_card  # TRL calls it at each checkpoint, and to push to a hub
    return trainer


@contextmanager
def _saying_how_to_go_on(stage: str, folder: Path) -> Iterator[None]:
    try:
        with in_memory(f"training in {folder}", LESS_MEMORY):
            yield
    except KeyboardInterrupt as stopped:
        raise type(stopped)(f"stopped; {_kept(stage, folder)}.") from None
    except OutOfMemoryError as error:
        raise OutOfMemoryError(f"{error}; {_kept(stage, folder)}") from error
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = why_not_saved(error)
        if reason is None:
            raise
        raise OutputFolderError(
            f"{folder} cannot be written to: {reason}; {_kept(stage, folder)}. Folders half-written-* in it "
            "can be removed"
        ) from error


def _kept(stage: str, folder: Path) -> str:
    kept = last_resumable(folder, find_stage(stage).added_files)
    return f"{kept} is kept; add --resume to go on from it" if kept else "no checkpoint was saved yet"
