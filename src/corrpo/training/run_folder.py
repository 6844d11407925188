"""The checkpoints in a run's folder: which of them were saved whole, and where a run goes on.

transformers' Trainer writes weights and tokenizer first, then the optimizer, the schedule and the random
states, and `trainer_state.json` last. So a checkpoint is whole if that file can be read and tells the step
that the folder's name tells, and weights, optimizer and random states are there, as is
what a trainer of ours adds.
"""

import json
import logging
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from corrpo.errors import OutputFolderError

logger = logging.getLogger(__name__)

FINAL = "final"
RECIPE = "recipe.json"
_PREFIX = "checkpoint-"
_WEIGHTS = ("model*.safetensors", "adapter_model*.safetensors", "pytorch_model*", "global_step*")
_OPTIMIZERS = ("optimizer.pt", "optimizer.bin", "optimizer_*", "global_step*")


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder by step, whole or not."""
    found = (path for path in folder.glob(f"{_PREFIX}*") if path.is_dir() and _step(path) is not None)
    return sorted(found, key=lambda path: _step(path) or 0)


def is_whole(checkpoint: Path, also: Sequence[str] = ()) -> bool:
    """True if training can go on from a checkpoint; see the module.

    Args:
        checkpoint: a folder `checkpoint-STEP`.
        also: files that the run's trainer adds.
    """
    try:
        state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return (
        isinstance(state, dict)
        and state.get("global_step") == _step(checkpoint)
        and all((checkpoint / name).exists() for name in also)
        and _has_random_states(checkpoint)
        and _holds_any(checkpoint, _WEIGHTS)
        and _holds_any(checkpoint, _OPTIMIZERS)
    )


def _has_random_states(checkpoint: Path) -> bool:
    """One of a single process, or those of two or more, none left out."""
    if (checkpoint / "rng_state.pth").exists():
        return True
    names = {path.name for path in checkpoint.glob("rng_state_*.pth")}
    return len(names) > 1 and names == {f"rng_state_{process}.pth" for process in range(len(names))}


def _holds_any(checkpoint: Path, patterns: tuple[str, ...]) -> bool:
    return any(True for pattern in patterns for _ in checkpoint.glob(pattern))


def last_whole(folder: Path, also: Sequence[str] = ()) -> Path | None:
    """The newest checkpoint that training can go on from, or None.

    Args:
        folder: the run's.
        also: see `is_whole`.
    """
    return next((path for path in reversed(checkpoints(folder)) if is_whole(path, also)), None)


def set_half_written_aside(folder: Path, also: Sequence[str] = ()) -> list[Path]:
    """Rename the checkpoints after the last whole one to `half-written-STEP`, with a warning for each.

    Args:
        folder: the run's.
        also: see `is_whole`.

    Returns:
        Where they are now.

    Raises:
        OutputFolderError: they cannot be renamed.
    """
    whole = last_whole(folder, also)
    moved = []
    for path in checkpoints(folder):
        if whole is not None and (_step(path) or 0) <= (_step(whole) or 0):
            continue
        name = f"half-written-{path.name.removeprefix(_PREFIX)}"
        target = next(to for i in count() if not (to := folder / (f"{name}.{i}" if i else name)).exists())
        try:
            path.rename(target)
        except OSError as error:
            raise OutputFolderError(f"cannot rename {path}: {error.strerror or error}") from error
        logger.warning("%s was not saved whole; it is now %s", path, target.name)
        moved.append(target)
    return moved


def _step(checkpoint: Path) -> int | None:
    number = checkpoint.name.removeprefix(_PREFIX)
    return int(number) if number.isdigit() else None
