"""The stages of training: supervised fine-tuning, then DPO, GRPO, CorR-PO or CorR-regularized RLOO.

A run lives in `output_dir`: `recipe.json` (every setting and version), `checkpoint-STEP` folders, and at the
end `final`. Each of the last two holds config, weights and tokenizer, and `corrpo measure` reads it.

With LoRA a checkpoint holds adapters alone. `final` is merged; to merge a checkpoint:

    from peft import AutoPeftModelForCausalLM
    AutoPeftModelForCausalLM.from_pretrained("out/checkpoint-200").merge_and_unload().save_pretrained("merged")

and copy the tokenizer's files beside the weights.

A run that is resumed goes on from the last whole checkpoint and, on one machine, ends with the weights of an
undisturbed run: weights, optimizer, schedule, random states and the order of the data are as they were. What
differs: averages of metrics between two logs begin anew; and where a batch of rollouts serves several
optimizer steps (num_iterations above 1, or steps_per_generation above gradient_accumulation_steps) and the
checkpoint lies between these, the rollouts are drawn anew.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from datasets import Dataset
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PrinterCallback
from trl.trainer.utils import get_peft_config, get_quantization_config

from corrpo.errors import BadInputError, OutputFolderError, UnsupportedModelError
from corrpo.jobs.files import read_json, write_json
from corrpo.jobs.versions import TRAINING_LIBRARIES, library_versions
from corrpo.models.threads import threads_for
from corrpo.models.training_run import FINAL, RECIPE, trainer_checkpoints
from corrpo.rewards.task_rewards import find_task_reward
from corrpo.training.data import (
    ANSWER_CHECKED_BY,
    evaluation_source,
    load_preferences,
    load_prompts,
    load_traces,
    training_source,
)
from corrpo.training.order import SameOrder
from corrpo.training.progress_line import ProgressLine
from corrpo.training.recipe import RecipeArguments, settings_used
from corrpo.training.resuming import last_resumable, set_incomplete_aside

STAGES = {
    "sft": ("trl.SFTConfig", "trl.SFTTrainer"),
    "dpo": ("trl.DPOConfig", "trl.DPOTrainer"),
    "grpo": ("trl.GRPOConfig", "trl.GRPOTrainer"),
    "corrpo": ("corrpo.training.config.CorRPOConfig", "corrpo.training.trainer.CorRPOTrainer"),
    "rloo": ("corrpo.training.config.CorRRLOOConfig", "corrpo.training.trainer.CorRRLOOTrainer"),
}
"""Where the config and the trainer of each stage are. RLOO with inversion_weight 0 is TRL's."""
OFFLINE = ("sft", "dpo")
"""Stages that learn from responses that are at hand; the others draw rollouts, which rewards score."""

# What our trainers keep beside what transformers saves.
_ADDED = {"corrpo": ("inversion_state.json",), "rloo": ("inversion_state.json",)}


def config_class(stage: str) -> type:
    """The config of a stage, a subclass of TRL's.

    Raises BadInputError on an unknown stage.

    >>> config_class("sft").__name__
    'SFTConfig'
    """
    if stage not in STAGES:
        raise BadInputError(f"there is no stage {stage!r}; expected one of {', '.join(STAGES)}")
    return _imported(STAGES[stage][0])


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
        OutputFolderError: `output_dir` holds a run and `resume` is not set, or one of another stage.
        KeyboardInterrupt: Ctrl-C, with what is kept and how to go on.
    """
    _check_settings(stage, recipe, config)
    config.disable_tqdm = True
    folder = Path(config.output_dir)
    tokenizer = _load_tokenizer(recipe, config)
    with config.main_process_first(desc="reading the data"):
        checkpoint = _starting_point(stage, folder, recipe)
        rows, evaluation_rows = _load_data(stage, recipe, config, tokenizer)
    _check_sizes(stage, config, rows)
    line = progress or ProgressLine(stage)
    model = _load_model(recipe, config)
    with threads_for(model), line:
        trainer = _make_trainer(stage, recipe, config, model, tokenizer, (rows, evaluation_rows), line)
        if trainer.is_world_process_zero():
            changed = _write_recipe(stage, folder, recipe, config, checkpoint)
            line.say(*_start_in_words(recipe, config, checkpoint, changed))
        with _telling_how_to_go_on(stage, folder):
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        return _save_final(trainer, folder, peft=recipe.use_peft)


def _imported(place: str) -> Any:
    module, _, name = place.rpartition(".")
    return getattr(import_module(module), name)


def _check_settings(stage: str, recipe: RecipeArguments, config: Any) -> None:
    """Refuse what can be refused without reading anything."""
    if config.resume_from_checkpoint is not None:
        raise BadInputError(
            f"resume_from_checkpoint={config.resume_from_checkpoint!r}: use --resume, which goes on from the "
            "last whole checkpoint in output_dir"
        )
    if recipe.resume and config.save_only_model:
        raise BadInputError("save_only_model keeps no optimizer, so nothing can be resumed: leave it out")
    if _evaluates(config) and evaluation_source(recipe) is None:
        raise BadInputError(f"eval_strategy={config.eval_strategy.value} needs an eval_dataset or eval_split")
    if stage not in OFFLINE:
        _check_rewards(stage, recipe, config)


def _evaluates(config: Any) -> bool:
    return config.eval_strategy.value != "no"


def _check_rewards(stage: str, recipe: RecipeArguments, config: Any) -> None:
    names = [find_task_reward(name).function.__name__ for name in recipe.rewards]
    if len(set(names)) < len(names):
        raise BadInputError(
            f"rewards={recipe.rewards}: each once, and of exact and math, which both score accuracy, only one"
        )
    gate = getattr(config, "inversion_gate", "all")
    if gate != "all" and (not names or recipe.rewards[0] not in ANSWER_CHECKED_BY):
        raise BadInputError(
            f"inversion_gate={gate} goes by the first of rewards={recipe.rewards}; put the one that checks "
            f"the answer first ({' or '.join(ANSWER_CHECKED_BY)})"
        )
    if not names and stage == "grpo":
        raise BadInputError("grpo needs rewards: of exact, math, format at least one")
    if config.reward_weights is not None and stage == "grpo" and len(config.reward_weights) != len(names):
        raise BadInputError(
            f"reward_weights={config.reward_weights}: expected one for each of rewards={recipe.rewards}"
        )


def _check_sizes(stage: str, config: Any, rows: Dataset) -> None:
    """TRL leaves a batch out that it cannot fill: with too few prompts it would train on nothing."""
    if stage in OFFLINE:
        return
    needed = config.generation_batch_size // config.num_generations
    if len(rows) < needed:
        raise BadInputError(
            f"the dataset has {len(rows)} prompts, and one generation batch takes {needed} "
            f"(generation_batch_size {config.generation_batch_size} / num_generations "
            f"{config.num_generations}): give more rows, or a smaller per_device_train_batch_size or "
            "gradient_accumulation_steps"
        )


def _starting_point(stage: str, folder: Path, recipe: RecipeArguments) -> Path | None:
    """The checkpoint to go on from; None to start from the beginning."""
    before = read_json(folder / RECIPE) if (folder / RECIPE).exists() else {}
    if not recipe.resume:
        holds = [path.name for path in (*trainer_checkpoints(folder), folder / FINAL) if path.exists()]
        if holds:
            raise OutputFolderError(
                f"{folder} holds a run ({', '.join(holds[-3:])}): add --resume to go on with it, or give "
                "another --output_dir"
            )
        return None
    if before.get("stage", stage) != stage:
        raise OutputFolderError(
            f"{folder} holds a run of {before['stage']}, which {stage} cannot resume; give another "
            "--output_dir, and the final folder of that run as --model to train it further"
        )
    set_incomplete_aside(folder, _ADDED.get(stage, ()))
    return last_resumable(folder, _ADDED.get(stage, ()))


def _load_tokenizer(recipe: RecipeArguments, config: Any) -> Any:
    name = recipe.model_name_or_path
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            name, revision=recipe.model_revision, trust_remote_code=config.trust_remote_code
        )
    except (OSError, ValueError, KeyError) as error:
        raise BadInputError(_unloadable("tokenizer", recipe, error)) from error
    if tokenizer.eos_token is None:
        raise BadInputError(f"the tokenizer of {recipe.model} has no end-of-sequence token")
    return tokenizer


def _load_data(
    stage: str, recipe: RecipeArguments, config: Any, tokenizer: Any
) -> tuple[Dataset, Dataset | None]:
    """The rows of training and of evaluation, checked."""
    sources = training_source(recipe), evaluation_source(recipe) if _evaluates(config) else None
    if stage == "sft":
        chat = bool(tokenizer.chat_template or config.chat_template_path)
        loaded = [
            source and load_traces(source, chat=chat, text_column=config.dataset_text_field)
            for source in sources
        ]
    elif stage == "dpo":
        chat = bool(tokenizer.chat_template)
        loaded = [source and load_preferences(source, chat=chat) for source in sources]
    else:
        chat = bool(tokenizer.chat_template)
        loaded = [source and load_prompts(source, recipe, chat=chat) for source in sources]
    return loaded[0], loaded[1]  # pyright: ignore[reportReturnType]


def _load_model(recipe: RecipeArguments, config: Any) -> Any:
    """The model on the CPU, or where a sharded run puts it; never with weights made up for missing ones."""
    name: Any = recipe.model_name_or_path
    source = {"revision": recipe.model_revision, "trust_remote_code": config.trust_remote_code}
    options: dict[str, Any] = {
        "dtype": recipe.dtype,
        "attn_implementation": recipe.attn_implementation,
        "quantization_config": get_quantization_config(recipe),
        "output_loading_info": True,
        **source,
        **(config.model_init_kwargs or {}),
    }
    try:
        found = AutoConfig.from_pretrained(name, **source)
        if type(found) not in AutoModelForCausalLM._model_mapping and not config.trust_remote_code:
            raise UnsupportedModelError(
                f"{recipe.model} is a {found.model_type} model, which is not a causal LM"
            )
        loaded: Any = AutoModelForCausalLM.from_pretrained(name, **options)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise BadInputError(_unloadable("model", recipe, error)) from error
    model, report = loaded
    if report["missing_keys"]:
        some = ", ".join(sorted(report["missing_keys"])[:3])
        raise BadInputError(f"{recipe.model} lacks weights of {type(model).__name__}: {some}, ...")
    config.model_init_kwargs = None
    return model


def _unloadable(what: str, recipe: RecipeArguments, error: Exception) -> str:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return (
        f"cannot load the {what} of {recipe.model}: {reason}. Give the folder of a saved model, or a name "
        "on the hub that can be reached"
    )


def _make_trainer(
    stage: str,
    recipe: RecipeArguments,
    config: Any,
    model: Any,
    tokenizer: Any,
    data: tuple[Dataset, Dataset | None],
    line: ProgressLine,
) -> Any:
    rewards = (
        {}
        if stage in OFFLINE
        else {"reward_funcs": [find_task_reward(name).function for name in recipe.rewards]}
    )
    try:
        trainer = _imported(STAGES[stage][1])(
            model=model,
            args=config,
            train_dataset=data[0],
            eval_dataset=data[1],
            processing_class=tokenizer,
            peft_config=get_peft_config(recipe),
            callbacks=[line, SameOrder()],
            **rewards,
        )
    except (BadInputError, UnsupportedModelError):
        raise
    except ValueError as error:
        raise BadInputError(f"these settings cannot be trained with: {error}") from error
    trainer.remove_callback(PrinterCallback)
    return trainer


def _write_recipe(
    stage: str, folder: Path, recipe: RecipeArguments, config: Any, checkpoint: Path | None
) -> dict[str, list[Any]]:
    """Write what decides the run; returns the settings that changed since it was begun, before and now."""
    settings, path = settings_used(recipe, config), folder / RECIPE
    before = read_json(path) if recipe.resume and path.exists() else {}
    earlier = before.get("settings", settings)
    changed = {
        name: [earlier.get(name), value] for name, value in settings.items() if earlier.get(name) != value
    }
    resumed = list(before.get("resumed", []))
    if recipe.resume:
        resumed.append({"from": checkpoint and checkpoint.name, "changed": changed})
    write_json(
        path,
        {
            "schema_version": 1,
            "stage": stage,
            "settings": settings,
            "versions": library_versions(*TRAINING_LIBRARIES),
            "processes": config.world_size,
            "resumed": resumed,
        },
    )
    return changed


def _start_in_words(
    recipe: RecipeArguments, config: Any, checkpoint: Path | None, changed: dict[str, list[Any]]
) -> list[str]:
    lines = []
    if evaluation_source(recipe) is not None and not _evaluates(config):
        lines.append("the evaluation set is not read, as eval_strategy is no")
    if recipe.resume and checkpoint is None:
        lines.append(f"{config.output_dir} holds no whole checkpoint: starting from the beginning")
    elif recipe.resume:
        lines.append(f"going on from {checkpoint}")
    return [*lines, *(f"{name} was {old!r}, now {new!r}" for name, (old, new) in changed.items())]


@contextmanager
def _telling_how_to_go_on(stage: str, folder: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        kept = last_resumable(folder, _ADDED.get(stage, ()))
        what = f"{kept} is kept; add --resume to go on from it" if kept else "no checkpoint was saved yet"
        raise KeyboardInterrupt(f"stopped; {what}.") from None


def _save_final(trainer: Any, folder: Path, *, peft: bool) -> Path:
    """Save beside the target, then move there in one step; adapters are merged into their base model."""
    partial, final = folder / f".{FINAL}", folder / FINAL
    if trainer.is_world_process_zero() and partial.exists():
        shutil.rmtree(partial)
    trainer.accelerator.wait_for_everyone()
    trainer.save_model(str(partial))
    trainer.accelerator.wait_for_everyone()
    if trainer.is_world_process_zero():
        if peft:
            partial = _merged(partial, folder / f".{FINAL}-merged", trainer.processing_class)
        if final.exists():
            shutil.rmtree(final)
        partial.replace(final)
    trainer.accelerator.wait_for_everyone()
    return final


def _merged(adapter: Path, target: Path, tokenizer: Any) -> Path:
    """The base model with the adapter's update in its weights, as a plain model in `target`."""
    from peft import AutoPeftModelForCausalLM

    model: Any = AutoPeftModelForCausalLM.from_pretrained(adapter)
    model.merge_and_unload().save_pretrained(target)
    tokenizer.save_pretrained(target)
    shutil.rmtree(adapter)
    return target
