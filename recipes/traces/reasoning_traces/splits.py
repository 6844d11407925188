"""Rows of traces for training, validation and test, with no problem in two of them."""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import reasoning_gym

from corrpo.errors import BadInputError
from reasoning_traces import TASKS
from reasoning_traces.pen import Pen
from reasoning_traces.task import TraceTask, Worked

SPLITS = ("test", "validation", "train")
"""In the order in which problems are drawn: the test set is the same whatever the size of the others."""
LENGTHS: Mapping[str, tuple[float, float]] = {
    "brief": (0.1, 0.15),
    "short": (0.15, 0.15),
    "long": (0.15, 0.6),
}
"""By the length of the traces, the shares of steps that go wrong at first, and that are checked."""
PROMPT = (
    "{question}\nThink step by step between <think> and </think>, then give the final answer alone between "
    "<answer> and </answer>.\n"
)
_SENTENCE_STARTS = re.compile(r"(?<=[.?] )[a-z]")
_SEEDS_PER_SPLIT, _CHUNK = 10_000_000, 500  # reasoning-gym seeds item i with seed + i
_CHUNKS_IN_VAIN = 10
"""Chunks without a new problem after which a task has no more of them."""


def make_splits(
    sizes: Mapping[str, int], tasks: Sequence[str], length: str, seed: int
) -> dict[str, list[dict[str, str]]]:
    """Rows of every split: id, prompt, completion, answer, task and split, the tasks in turn.

    Args:
        sizes: rows of each of `SPLITS`.
        tasks: names of `TASKS`.
        length: one of `LENGTHS`.
        seed: of everything.

    Raises:
        ValueError: a trace that claims what is not so, which would be a mistake in the task's file.
        BadInputError: a task that has fewer different problems.
    """
    streams = {task: _Distinct(TASKS[task], length, seed) for task in tasks}
    made = {}
    for split in SPLITS:
        shares = [len(range(turn, sizes[split], len(tasks))) for turn in range(len(tasks))]
        drawn = [
            [_row(task, split, number, one) for number, one in enumerate(streams[task].take(split, share))]
            for task, share in zip(tasks, shares, strict=True)
        ]
        made[split] = [rows[turn] for turn in range(max(shares)) for rows in drawn if turn < len(rows)]
    return made


def completion(worked: Worked) -> str:
    """The trace that a model learns to write."""
    thought = _SENTENCE_STARTS.sub(lambda match: match.group().upper(), worked.thought)
    return f"<think>{thought}</think><answer>{worked.answer}</answer>"


def as_chat(row: dict[str, str]) -> dict[str, Any]:
    """A row with its prompt as the user's message and its completion as the assistant's."""
    roles = {"prompt": "user", "completion": "assistant"}
    return row | {name: [{"role": role, "content": row[name].strip()}] for name, role in roles.items()}


def _row(task: str, split: str, number: int, worked: Worked) -> dict[str, str]:
    return {
        "id": f"{task}-{number}",
        "prompt": PROMPT.format(question=worked.question),
        "completion": completion(worked),
        "answer": worked.answer,
        "task": task,
        "split": split,
    }


class _Distinct:
    """Problems of a task, each once."""

    def __init__(self, task: TraceTask, length: str, seed: int):
        self.task, self.length, self.seed = task, length, seed
        self.seen: set[str] = set()
        self.count = 0

    def take(self, split: str, count: int) -> list[Worked]:
        start = (self.seed * len(SPLITS) + SPLITS.index(split)) * _SEEDS_PER_SPLIT
        return list(islice(self._problems(start), count))

    def _problems(self, start: int) -> Iterator[Worked]:
        slips, checks = LENGTHS[self.length]
        in_vain = 0
        for first in range(start, start + _SEEDS_PER_SPLIT, _CHUNK):
            entries = reasoning_gym.create_dataset(
                self.task.name, seed=first, size=_CHUNK, **self.task.settings[self.length]
            )
            known = self.count
            for number in range(_CHUNK):
                entry = entries[number]
                pen = Pen(random.Random(f"{self.task.name} {first + number}"), slips, checks)
                worked = self.task.work(entry, pen)
                if worked is None or {worked.key, worked.question} & self.seen:
                    continue
                self.task.check(worked.thought, entry)
                self.seen |= {worked.key, worked.question}
                self.count += 1
                yield worked
            in_vain = in_vain + 1 if self.count == known else 0
            if in_vain == _CHUNKS_IN_VAIN:
                raise BadInputError(
                    f"{self.task.name} has no more than {self.count:,} different problems of length "
                    f"{self.length}, for all splits together: ask for fewer rows or another length"
                )
