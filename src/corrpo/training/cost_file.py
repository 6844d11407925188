"""cost.jsonl in the folder of a run: seconds and generated tokens so far, to compare runs at equal cost."""

import json
import time
from pathlib import Path
from typing import Any

from corrpo.training.metrics_file import MetricsFile

COST = "cost.jsonl"
"""Its name."""


class CostFile(MetricsFile):
    """A line at each log and checkpoint: step, seconds, generated_tokens, accuracy.

    All are of the whole run, over as many sittings as it took: a resumed run goes on from the cost of its
    checkpoint, and what was lost with a kill does not count. Evaluations in training do not count either;
    theirs is `accuracy`, the part of right answers (null in all other lines). Generated tokens are those of
    rollouts (end of sequence included), of all processes; null for stages that draw none. A run that an
    earlier version began has no such file.
    """

    def __init__(self, folder: Path):
        self.path = folder / COST

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Go on from the cost at the checkpoint."""
        self._is_whole = state.global_step == 0 or bool(read_costs(self.path.parent))
        if self._is_whole:
            super().on_train_begin(args, state, control, **kwargs)
        costs = read_costs(self.path.parent) if state.is_world_process_zero else []
        self._tokens = costs[-1]["generated_tokens"] if costs else None
        self._counted_to = costs[-1]["counted_to"] if costs else 0
        self._clock = time.perf_counter() - (costs[-1]["seconds"] if costs else 0.0)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Count what was done since the last log."""
        logs = logs or {}
        self._clock += logs.get("eval_runtime", 0.0)
        length, steps = logs.get("completions/mean_length"), state.global_step - self._counted_to
        if length is not None:
            self._tokens = round((self._tokens or 0) + length * steps * rollouts_of_a_step(args))
            self._counted_to = state.global_step
        cost = {"seconds": time.perf_counter() - self._clock, "generated_tokens": self._tokens}
        cost |= {"counted_to": self._counted_to, "accuracy": logs.get("eval_rewards/accuracy/mean")}
        if self._is_whole:
            super().on_log(args, state, control, cost, **kwargs)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep the seconds up to a checkpoint."""
        self.on_log(args, state, control)


def read_costs(training: Path) -> list[dict[str, Any]]:
    """The lines of a run's cost.jsonl; none for a run of an earlier version."""
    path = training / COST
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def generations_of_a_step(args: Any) -> float:
    """How often rollouts are drawn for an optimizer step, from the config of a trainer."""
    return args.gradient_accumulation_steps / (args.steps_per_generation * args.num_iterations)


def rollouts_of_a_step(args: Any) -> float:
    """Rollouts that are drawn for an optimizer step, by all processes, from the config of a trainer.

    >>> from types import SimpleNamespace
    >>> batch = {"generation_batch_size": 64, "steps_per_generation": 4, "num_iterations": 2}
    >>> rollouts_of_a_step(SimpleNamespace(**batch, gradient_accumulation_steps=4))
    32.0
    """
    return args.generation_batch_size * generations_of_a_step(args)
