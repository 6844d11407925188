"""`corrpo train STAGE --config recipe.yaml [--any_field value ...] [--resume]`.

The flags are the fields of the recipe, read by TRL's parser, so that this verb has its own `main`.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from corrpo.errors import require_packages
from corrpo.jobs.parent_death import end_if_marked
from corrpo.rewards.choices import CONTROL_NAMES
from corrpo.rewards.controls import find_control
from corrpo.training.stages import STAGES, config_class, find_stage

NEEDED = ("trl", "datasets", "accelerate", "peft", "yaml")

HELP = """\
corrpo train STAGE --config RECIPE.yaml [--any_field value ...] [--resume]

Stages
{stages}

A base model goes through sft and then one of the others, or through one of the others alone (pure RL).

An example, minutes on two CPU cores, from the repository of corrpo
  corrpo train corrpo --config recipes/lab/corrpo.yaml --output_dir out/corrpo
  corrpo train corrpo --config recipes/lab/corrpo.yaml --output_dir out/corrpo --max_steps 200 --resume
  corrpo measure out/corrpo/final --samples prompts.jsonl --output out/measured

A recipe is a YAML file of fields; each is a flag too, and a flag stands over the file. OUTPUT_DIR gets
recipe.json (every setting and version), a checkpoint-STEP every save_steps, and final: each checkpoint holds
config, weights and tokenizer, and corrpo measure reads it. With LoRA, final is merged and checkpoints are
adapters. Ctrl-C keeps what was saved; the same command with --resume goes on from the last whole checkpoint.
--dry-run tells time and memory beforehand, from a few sequences, and writes nothing.

Several processes: torchrun --nproc_per_node 2 -m corrpo.cli.main train STAGE --config RECIPE.yaml (also on
CPUs), or accelerate launch --config_file recipes/accelerate/fsdp2.yaml -m corrpo.cli.main train ... on GPUs.

corrpo train STAGE --help lists the fields of a stage. --quiet and --json are those of every verb.
"""

USUAL = {
    "all": (
        "learning_rate max_steps num_train_epochs per_device_train_batch_size gradient_accumulation_steps "
        "logging_steps save_steps save_total_limit eval_strategy eval_steps seed gradient_checkpointing bf16"
    ),
    "sft": "max_length packing assistant_only_loss chat_template_path eos_token dataset_text_field",
    "dpo": "max_length beta loss_type label_smoothing precompute_ref_log_probs",
    "rl": "num_generations max_completion_length temperature beta reward_weights use_vllm vllm_mode",
}
DOCUMENTATION = "https://huggingface.co/docs/trl"


def main(words: Sequence[str]) -> dict[str, Any] | None:
    """Read the stage and its recipe, train, and print the folder of the final model, which is returned."""
    if not words or words[0] in ("-h", "--help"):
        stages = "\n".join(f"  {name:<8}{stage.meaning}" for name, stage in STAGES.items())
        print(HELP.format(stages=stages))
        raise SystemExit(0)
    end_if_marked()
    stage, flags = words[0], words[1:]
    find_stage(stage)
    require_packages("training", *NEEDED, extra="train")
    from corrpo.training.silence_libraries import silence_libraries

    silence_libraries()
    from corrpo.training.recipe import parse_recipe
    from corrpo.training.run_stage import train

    if "-h" in flags or "--help" in flags:
        print(_stage_help(stage, config_class(stage)))
        raise SystemExit(0)
    dry = [word for word in flags if word == "--dry-run"]
    recipe, config = parse_recipe(config_class(stage), [word for word in flags if word != "--dry-run"])
    if dry:
        _dry_run(stage, recipe, config)
        return None
    final = train(stage, recipe, config)
    if config.process_index == 0:
        print(final)
    _leave_process_group()
    return {"model": str(final)} if config.process_index == 0 else None


def _dry_run(stage: str, recipe: Any, config: Any) -> None:
    from corrpo.cli.dry_run import announce, print_costs
    from corrpo.training.dry_run import dry_run
    from corrpo.training.run_stage import LESS_MEMORY

    announce()
    plan = dry_run(stage, recipe, config)
    trained = f"{plan.trained:,} parameters"
    lines = [
        *plan.remarks,
        f"data          {plan.rows:,} rows; the longest sequence has {plan.longest:,} tokens",
        f"training      {plan.steps:,} steps of {plan.sequences:,} sequences a process, of {trained}",
    ]
    print_costs(lines, plan.costs, plan.weight_bytes, plan.free_bytes, remedy=LESS_MEMORY)


def _leave_process_group() -> None:
    import torch.distributed

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _stage_help(stage: str, config_class: type) -> str:
    """The fields of a stage: corrpo's own in full, then the usual ones of TRL's by name."""
    from corrpo.training.recipe import RecipeArguments

    inherited = {item.name for base in RecipeArguments.__mro__[1:] for item in _fields_of(base)}
    own = [item for item in fields(RecipeArguments) if item.init and item.name not in inherited]
    inversion = [item for item in fields(config_class) if item.name.startswith("inversion_")]
    model = [item for item in fields(RecipeArguments) if item.name in inherited and item.init]
    usual = f"{USUAL['all']} {USUAL[stage if stage in USUAL else 'rl']}"
    trainer = stage if stage in ("sft", "dpo", "rloo") else "grpo"
    parts = [
        f"corrpo train {stage}: {STAGES[stage].meaning}",
        f"corrpo train {stage} --config RECIPE.yaml [--any_field value ...]",
        "Where model and data come from\n" + "\n".join(map(_described, own)),
        "Where the run goes\n  --output_dir\n      Folder of checkpoints and the final model. Needed.",
    ]
    if inversion:
        parts.append("The inversion in the reward\n" + "\n".join(map(_described, inversion)))
        controls = ((name, find_control(name)) for name in CONTROL_NAMES)
        lines = (f"  {name:<10}c = {control.formula}: {control.question}" for name, control in controls)
        parts.append("What each control gives a rollout, and what it tells\n" + "\n".join(lines))
    parts += [
        "Model and LoRA (TRL's ModelConfig)\n" + _names(item.name for item in model),
        f"Usual ones of TRL's {len(fields(config_class))} fields\n" + _names(usual.split()),
        "Other defaults than TRL's\n"
        "  report_to none (give trackio or wandb); ddp_find_unused_parameters false;\n"
        "  without CUDA: use_cpu true and bf16 false (true: in matrix products, where the CPU has bfloat16)",
        f"All of TRL's fields: {DOCUMENTATION}/{trainer}_trainer",
    ]
    return "\n\n".join(parts)


def _fields_of(kind: type) -> Any:
    return getattr(kind, "__dataclass_fields__", {}).values()


def _described(item: Any) -> str:
    default = (
        ""
        if not isinstance(item.default, str | int | float) or item.default is False
        else f" Default: {item.default}."
    )
    if "Default:" in item.metadata.get("help", ""):
        default = ""
    text = f"{item.metadata.get('help', '')}{default}"
    return f"  --{item.name}\n" + textwrap.fill(text, 100, initial_indent=" " * 6, subsequent_indent=" " * 6)


def _names(names: Any) -> str:
    return textwrap.fill(" ".join(names), 100, initial_indent="  ", subsequent_indent="  ")
