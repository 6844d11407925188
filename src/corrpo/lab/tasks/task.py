"""What a task of the lab is, and the words that its scratchpads share."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

OPENINGS = ("", "", "first ", "ok, ", "let me see, ", "start with ")
TURNS = (". now ", ". now ", ". then ", ". next ", ". and ")


@runtime_checkable
class LabProblem(Protocol):
    """One problem of a task: what is asked, the right answer, and how it is worked out."""

    @property
    def question(self) -> str:
        """What the user asks."""
        ...

    @property
    def answer(self) -> str:
        """The right answer as text, the only one that counts as solved."""
        ...

    @property
    def key(self) -> tuple[int, ...]:
        """What makes two problems of a task the same."""
        ...

    def work(self, rng: random.Random) -> str:
        """What is thought before the answer, in words that vary with `rng`."""
        ...


@dataclass(frozen=True)
class LabTask:
    """A stream of problems from reasoning-gym."""

    name: str
    """What follows `lab:`, for example `sums`."""
    gym_task: str
    """The reasoning-gym task that makes the problems."""
    settings: Mapping[str, Any] = field(hash=False)
    """Its settings."""
    pose: Callable[[Mapping[str, Any], random.Random], LabProblem | None]
    """The problem of an entry of reasoning-gym, with a choice of words; None to leave the entry out."""
