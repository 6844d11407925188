"""What the runs of an experiment start from, by content: its models and the data that they are trained on."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corrpo.experiments.recipe import ExperimentRecipe
from corrpo.models.checkpoints import find_checkpoints
from corrpo.models.load_options import LoadOptions
from corrpo.models.model_names import model_location
from corrpo.models.saved_model import deciding_files
from corrpo.models.source_stamp import source_stamp


def inputs_of(recipe: ExperimentRecipe) -> dict[str, Any]:
    """SHA-256 of each local model and of each local file or folder of data; JSON-safe.

    Returns:
        `models`: name to digest, or to the commit of a model on the hub (None if it is not known). `data`:
        path to digest; data that is no file, as a dataset of the hub, is left out.
    """
    settings = [arm.settings for arm in recipe.arms]
    named = [one[name] for one in settings for name in ("dataset", "eval_dataset") if one.get(name)]
    return {
        "models": {name: _of_model(model) for name, model in recipe.models.items()},
        "data": {str(path): _of_data(Path(path)) for path in sorted(set(named)) if Path(path).exists()},
    }


def _of_model(model: str) -> str | None:
    checkpoint = find_checkpoints([model_location(model)])[0][0]
    folder = Path(checkpoint.source)
    if folder.exists():
        return _sha256(deciding_files(folder))
    stamp = source_stamp(checkpoint, LoadOptions())
    return None if stamp is None else stamp["commit"]


def _of_data(path: Path) -> str:
    return _sha256([path] if path.is_file() else sorted(path.rglob("*")))


def _sha256(paths: Sequence[Path]) -> str:
    """The SHA-256 of the names and contents of files, in their order; folders among them are passed over."""
    digest = hashlib.sha256()
    for path in paths:
        if path.is_file():
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{path.name} {content}\n".encode())
    return digest.hexdigest()
