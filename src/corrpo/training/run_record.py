"""recipe.json in the folder of a run: what decided it, from where it was resumed, and what changed then."""

from pathlib import Path
from typing import Any

from corrpo.errors import OutputFolderError
from corrpo.jobs.files import read_json, write_json
from corrpo.jobs.versions import TRAINING_LIBRARIES, library_versions
from corrpo.models.matrix_products import has_bfloat16
from corrpo.models.training_run import FINAL, RECIPE, trainer_checkpoints
from corrpo.training.data import evaluation_source
from corrpo.training.recipe import RecipeArguments, evaluates, rounds_factors, settings_used
from corrpo.training.resuming import last_resumable, set_incomplete_aside
from corrpo.training.stages import find_stage


def starting_checkpoint(stage: str, folder: Path, recipe: RecipeArguments) -> Path | None:
    """The checkpoint to go on from; None to start from the beginning.

    Incomplete checkpoints of a run that is resumed are set aside. A folder with a run is refused where
    `resume` is not set, or the run is one of another stage.
    """
    before = read_json(folder / RECIPE) if (folder / RECIPE).exists() else {}
    if not recipe.resume:
        present = [path.name for path in (*trainer_checkpoints(folder), folder / FINAL) if path.exists()]
        if present:
            raise OutputFolderError(
                f"{folder} holds a run ({', '.join(present[-3:])}): add --resume to go on with it, or give "
                "another --output_dir"
            )
        return None
    if before.get("stage", stage) != stage:
        raise OutputFolderError(
            f"{folder} holds a run of {before['stage']}, which {stage} cannot resume; give another "
            "--output_dir, and the final folder of that run as --model to train it further"
        )
    set_incomplete_aside(folder, find_stage(stage).added_files)
    return last_resumable(folder, find_stage(stage).added_files)


def keep_fit_tokens(folder: Path, recipe: RecipeArguments, config: Any) -> list[str]:
    """Let a run that goes on keep its `inversion_fit_tokens` where none are given; a line for people if so.

    A run of corrpo 0.2 records none: its rewards were of own-position parts, without a regression.
    """
    if not (recipe.resume and (folder / RECIPE).exists() and getattr(config, "fit_tokens", 0)):
        return []
    kept = read_json(folder / RECIPE)["settings"].get("inversion_fit_tokens", 0)
    if config.inversion_fit_tokens is not None or kept is None:
        return []
    config.inversion_fit_tokens = kept
    return [f"inversion_fit_tokens stays {kept}, the reward that this run was begun with"]


def write_run_record(
    stage: str, folder: Path, recipe: RecipeArguments, config: Any, checkpoint: Path | None
) -> dict[str, list[Any]]:
    """Write recipe.json: what decides the run, and each time that it was resumed, from `checkpoint`.

    Returns the settings that changed since the run was begun: by name, before and now; among them
    `cpu_products`, what the CPU makes of `bf16`.
    """
    settings, path = settings_used(recipe, config), folder / RECIPE
    before = read_json(path) if recipe.resume and path.exists() else {}
    earlier = before.get("settings", settings)
    changed = {
        name: [earlier.get(name), value] for name, value in settings.items() if earlier.get(name) != value
    }
    products = _cpu_products(config)
    if before.get("cpu_products", products) != products:
        changed["cpu_products"] = [before["cpu_products"], products]
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
            "cpu_products": products,
            "resumed": resumed,
        },
    )
    return changed


def _cpu_products(config: Any) -> str | None:
    """What factors of products are rounded to, where `bf16` of a CPU decides it."""
    if not rounds_factors(config):
        return None
    return "bfloat16" if has_bfloat16() else "float32"


def describe_start(
    recipe: RecipeArguments, config: Any, checkpoint: Path | None, changed: dict[str, list[Any]]
) -> list[str]:
    """Lines for people on where a run starts, and on the settings that changed since it was begun."""
    lines = []
    if evaluation_source(recipe) is not None and not evaluates(config):
        lines.append("the evaluation set is not read, as eval_strategy is no")
    if recipe.resume and checkpoint is None:
        lines.append(f"{config.output_dir} holds no whole checkpoint: starting from the beginning")
    elif recipe.resume:
        lines.append(f"going on from {checkpoint}")
    if _cpu_products(config) == "float32":
        lines.append("bf16 changes nothing: this CPU has no bfloat16")
    return [*lines, *(f"{name} was {old!r}, now {new!r}" for name, (old, new) in changed.items())]
