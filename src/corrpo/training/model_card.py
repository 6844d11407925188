"""README.md of a trained model: by which method, from which model, with which settings."""

from pathlib import Path
from typing import Any

from corrpo.jobs.files import write_text
from corrpo.jobs.versions import TRAINING_LIBRARIES, library_versions
from corrpo.models.training_run import RECIPE
from corrpo.training.recipe import RecipeArguments
from corrpo.training.stages import Stage

CARD = "README.md"
PAPER = {
    "title": "Entropy-Gradient Inversion: Moving Toward Internal Mechanism of Large Reasoning Models",
    "id": "2605.17770",
    "citation": (
        "@article{yang2026entropygradientinversion,\n"
        "    title  = {Entropy-Gradient Inversion: Moving Toward Internal Mechanism of Large Reasoning "
        "Models},\n"
        "    author = {Yang and Qian and Wang and Zhang and Zhang and Liu and Liu},\n"
        "    year   = 2026,\n"
        "    eprint = {arXiv:2605.17770},\n"
        "}"
    ),
}
"""Where CorR-PO comes from, in the form of TRL's model cards."""
_SHOWN = ("max_steps", "num_train_epochs", "learning_rate", "per_device_train_batch_size", "seed")
"""Settings of every stage that the card shows; recipe.json has all."""
_OF_ROLLOUTS = ("num_generations", "max_completion_length", "temperature", "loss_type", "reward_weights")


def write_model_card(stage: Stage, folder: Path, recipe: RecipeArguments, config: Any) -> None:
    """Write the README.md of a run or of its final model."""
    write_text(folder / CARD, model_card(stage, recipe, config))


def model_card(stage: Stage, recipe: RecipeArguments, config: Any) -> str:
    """The text: a header that hubs read, then method, model, data, settings and versions."""
    settings = {"model": recipe.model, "dataset": recipe.dataset}
    names = _SHOWN
    if stage.draws_rollouts:
        settings["rewards"] = " ".join(recipe.rewards)
        names += _OF_ROLLOUTS
    inversion = sorted(name for name in vars(config) if name.startswith("inversion_"))
    settings |= {name: getattr(config, name) for name in (*names, *inversion) if hasattr(config, name)}
    method = stage.trainer_class()
    tags = "\n".join(f"- {tag}" for tag in ("corrpo", *(tag for tag in method._tag_names if tag != "corrpo")))
    rows = "\n".join(f"| {name} | {value} |" for name, value in settings.items())
    versions = ", ".join(f"{n} {v}" for n, v in library_versions(*TRAINING_LIBRARIES).items())
    cited = f"\n```bibtex\n{PAPER['citation']}\n```\n" if inversion else ""
    return f"""\
---
library_name: transformers
tags:
{tags}
---

# {method._name}: {Path(config.output_dir).name}

`{recipe.model}` after {stage.meaning}, by `corrpo train`. Every setting: `{RECIPE}` of the run.

| setting | value |
| --- | --- |
{rows}

Versions: {versions}.
{cited}"""
