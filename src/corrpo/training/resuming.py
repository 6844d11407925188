"""Where a run that was stopped goes on: which of its checkpoints hold all that training needs.

transformers' Trainer writes weights and tokenizer first, then the optimizer, the schedule and the random
states, and `trainer_state.json` last. So training can resume from a checkpoint if that file can be read and
tells the step that the folder's name tells, and weights, optimizer and random states are there, as is
what a trainer of ours adds.
"""

import logging
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

from corrpo.errors import OutputFolderError
from corrpo.models.training_run import (
    CHECKPOINT_PREFIX,
    HALF_WRITTEN_PREFIX,
    TRAINER_STATE,
    read_record,
    step_of,
    trainer_checkpoints,
)

logger = logging.getLogger(__name__)

_WEIGHTS = ("model*.safetensors", "adapter_model*.safetensors", "pytorch_model*", "global_step*")
_OPTIMIZERS = ("optimizer.pt", "optimizer.bin", "optimizer_*", "global_step*")


def is_resumable(checkpoint: Path, also: Sequence[str] = ()) -> bool:
    """True if training can go on from a checkpoint; `also` are files that its trainer adds."""
    step = read_record(checkpoint / TRAINER_STATE).get("global_step")
    return (
        step is not None
        and step == step_of(checkpoint.name)
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


def last_resumable(folder: Path, also: Sequence[str] = ()) -> Path | None:
    """The newest checkpoint of a run that training can go on from, or None."""
    return next((path for path in reversed(trainer_checkpoints(folder)) if is_resumable(path, also)), None)


def set_incomplete_aside(folder: Path, also: Sequence[str] = ()) -> list[Path]:
    """Rename the checkpoints after the last resumable one to `half-written-STEP`, with a warning for each."""
    kept = trainer_checkpoints(folder)
    last = last_resumable(folder, also)
    moved = []
    for path in kept if last is None else kept[kept.index(last) + 1 :]:
        name = f"{HALF_WRITTEN_PREFIX}{path.name.removeprefix(CHECKPOINT_PREFIX)}"
        numbered = (folder / f"{name}.{i}" for i in count(1))
        target = next(free for free in chain([folder / name], numbered) if not free.exists())
        try:
            path.rename(target)
        except OSError as error:
            raise OutputFolderError(f"cannot rename {path}: {error.strerror or error}") from error
        logger.warning("%s was not saved whole; it is now %s", path, target.name)
        moved.append(target)
    return moved
