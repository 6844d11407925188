"""The folder of a training run, of any trainer: the names of its checkpoints, and what its records say.

A run of `corrpo train` holds `recipe.json` (every setting and version), `checkpoint-STEP` folders, and at the
end `final`. Other trainers name their checkpoints step-N or global_step_N.
"""

import json
import re
from pathlib import Path
from typing import Any

FINAL = "final"
RECIPE = "recipe.json"
TRAINER_STATE = "trainer_state.json"
CHECKPOINT_PREFIX = "checkpoint-"
HALF_WRITTEN_PREFIX = "half-written-"
"""Of a checkpoint that was not saved whole, once the run has gone on from another."""
_STEP_FOLDER = re.compile(r"(?:checkpoint|global_step|step)[-_]?(\d+)")
_UNDER_WAY = re.compile(r"(?:\.|tmp[-_.])?(?:checkpoint|global_step|step)[-_]?\d+(?:[.-]\w+)?")


def step_of(name: str) -> int | None:
    """The step in the name of a checkpoint's folder.

    >>> step_of("checkpoint-200"), step_of("global_step_3"), step_of("final")
    (200, 3, None)
    """
    numbered = _STEP_FOLDER.fullmatch(name)
    return int(numbered[1]) if numbered else None


def is_under_way(name: str) -> bool:
    """Whether a folder's name is that of a checkpoint, perhaps one that is still being written.

    >>> is_under_way("tmp-checkpoint-200"), is_under_way("checkpoint-200"), is_under_way("runs")
    (True, True, False)
    """
    return bool(_UNDER_WAY.fullmatch(name))


def is_in_run(name: str) -> bool:
    """Whether a folder's name is that of a checkpoint or of the last model of a run."""
    return name == FINAL or step_of(name) is not None


def is_run(folder: Path) -> bool:
    """Whether a folder holds the checkpoints or the last model of a run."""
    return any(path.name == FINAL or is_under_way(path.name) for path in folder.iterdir() if path.is_dir())


def trainer_checkpoints(run: Path) -> list[Path]:
    """The folders `checkpoint-STEP` of transformers' Trainer in a run by step, complete or not."""
    steps = {
        path: int(path.name.removeprefix(CHECKPOINT_PREFIX))
        for path in run.glob(f"{CHECKPOINT_PREFIX}*")
        if path.is_dir() and path.name.removeprefix(CHECKPOINT_PREFIX).isdigit()
    }
    return sorted(steps, key=lambda path: steps[path])


def recorded_stage(run: Path) -> str:
    """The stage in recipe.json, or the name of the run's folder."""
    stage = read_record(run / RECIPE).get("stage")
    return stage if isinstance(stage, str) and stage.strip() else run.resolve().name or "run"


def final_step(run: Path, folder: Path) -> int | None:
    """The step of the model in `folder` that a run ended with, from the first record that has it."""
    for place in dict.fromkeys((folder, run)):
        if ended := _positive(read_record(place / TRAINER_STATE).get("global_step")):
            return ended
    settings = read_record(run / RECIPE).get("settings")
    if isinstance(settings, dict) and (planned := _positive(settings.get("max_steps"))):
        return planned
    folders = [path for path in run.iterdir() if step_of(path.name) is not None]
    states = [read_record(path / TRAINER_STATE) for path in folders]
    newest: dict[str, Any] = max(
        states, key=lambda state: _positive(state.get("global_step")) or 0, default={}
    )
    return _positive(newest.get("max_steps")) or _positive(newest.get("global_step"))


def read_record(path: Path) -> dict[str, Any]:
    """A record of a run; empty if it is missing or, while a job runs, half written."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _positive(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
