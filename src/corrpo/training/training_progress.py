"""One line of progress for a training run, and a table of where it began and ended."""

import time
from collections.abc import Mapping
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from transformers import TrainerCallback

from corrpo.errors import visible
from corrpo.jobs.console import Console

MEASURES: dict[str, tuple[str, str]] = {
    "loss": ("loss", ".4f"),
    "token accuracy": ("mean_token_accuracy", ".3f"),
    "preferred": ("rewards/accuracies", ".3f"),
    "reward": ("reward", ".3f"),
    "accuracy": ("rewards/accuracy/mean", ".3f"),
    "rho": ("inversion/rho_mean", "+.3f"),
    "length": ("completions/mean_length", ".1f"),
}
"""What is shown: its name, the name under which trainers log it, its format."""


def shown_measures(logs: Mapping[str, Any], *, with_loss: bool) -> dict[str, str]:
    """What the line shows of one log of a trainer.

    The loss of a group method says nothing of its progress, and is left out unless `with_loss`.

    >>> shown_measures({"loss": 0.1, "reward": 1.5, "completions/mean_length": 53.2}, with_loss=False)
    {'reward': '1.500', 'length': '53.2'}
    """
    shown = {}
    for name, (key, form) in MEASURES.items():
        if logs.get(key) is not None and (with_loss or name != "loss"):
            shown[name] = format(float(logs[key]), form)
    return shown


class ProgressLine(TrainerCallback):
    """Shows stage, step, reward, accuracy, rho, length (for SFT and DPO the loss) and the time left.

    On a terminal one line that is rewritten, elsewhere a line per log; on the main process only. Used as a
    context manager around `trainer.train()`, so that a run that stops early leaves the terminal clean.
    """

    def __init__(self, stage: str, console: Console | None = None):
        self.stage = stage
        self.console = console or Console(stderr=True)
        self.first: dict[str, str] = {}
        self.last: dict[str, str] = {}
        self._bar: Progress | None = None
        self._started, self._first_step, self._steps = 0.0, 0, (0, 0)

    def __enter__(self) -> "ProgressLine":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, *lines: str) -> None:
        """Print lines of text above the progress."""
        for text in lines:
            self.console.print(visible(text), highlight=False, markup=False, soft_wrap=True)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Draw the line."""
        self._started, self._first_step = time.perf_counter(), state.global_step
        if not state.is_world_process_zero or not self.console.is_terminal:
            return
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[shown]}"),
            TimeRemainingColumn(),
            console=self.console,
        )
        self._bar.add_task(self.stage, total=state.max_steps, completed=state.global_step, shown="")
        self._bar.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Advance the line."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Show the figures of a training step or of an evaluation."""
        if not state.is_world_process_zero:
            return
        logs = logs or {}
        kind = "evaluation" if any(name.startswith("eval_") for name in logs) else self.stage
        values = {name.removeprefix("eval_"): value for name, value in logs.items()}
        shown = shown_measures(values, with_loss=self.stage in ("sft", "dpo"))
        if not shown:
            return
        text = "  ".join(f"{name} {value}" for name, value in shown.items())
        if kind == self.stage:
            self.first = self.first or shown
            self.last = shown
        if self._bar is not None and kind == self.stage:
            self._bar.update(self._bar.task_ids[0], shown=text)
            return
        left = "" if kind != self.stage else f"  {self._time_left(state)} left"
        self.console.print(
            f"{kind} {state.global_step}/{state.max_steps}  {text}{left}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Print the first and the last figures beside one another."""
        self.__exit__()
        if not state.is_world_process_zero or not self.first:
            return
        table = Table(title=f"{self.stage}, {state.global_step} steps", title_justify="left")
        table.add_column("")
        table.add_column("first log", justify="right")
        table.add_column("last log", justify="right")
        for name in self.last:
            table.add_row(name, self.first.get(name, "-"), self.last[name])
        self.console.print(table)

    def _time_left(self, state: Any) -> str:
        done = max(1, state.global_step - self._first_step)
        seconds = (time.perf_counter() - self._started) / done * (state.max_steps - state.global_step)
        hours, minutes = divmod(round(seconds) // 60, 60)
        return f"{hours}:{minutes:02d}:{round(seconds) % 60:02d}"
