"""metrics.jsonl in the folder of a run: every log of the trainer, a line each, while it goes on."""

import json
import math
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from corrpo.jobs.files import write_error, write_text

METRICS = "metrics.jsonl"
"""Its name."""


class MetricsFile(TrainerCallback):
    """Appends the step and all that is logged, by the names of the log, to OUTPUT/metrics.jsonl.

    A run that begins anew replaces the file; one that is resumed keeps the lines up to where it goes on. What
    is not finite is null. On the main process alone.
    """

    def __init__(self, folder: Path):
        self.path = folder / METRICS

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep the lines of steps that are not done again."""
        if state.is_world_process_zero:
            lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
            kept = [line for line in lines if _step(line) <= state.global_step] if state.global_step else []
            write_text(self.path, "".join(f"{line}\n" for line in kept))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Add a line."""
        if not state.is_world_process_zero:
            return
        values = {name: value if _is_plain(value) else None for name, value in (logs or {}).items()}
        line = json.dumps({"step": state.global_step, **values}, allow_nan=False, default=str)
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
        except OSError as error:
            raise write_error(self.path, error) from error


def _step(line: str) -> float:
    """The step of a line; infinite for one that a kill cut."""
    try:
        return json.loads(line)["step"]
    except json.JSONDecodeError:
        return math.inf


def _is_plain(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)
