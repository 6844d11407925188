"""What a task is that traces are written for, and what it makes of an entry of reasoning-gym."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from reasoning_traces.claims import check_claims
from reasoning_traces.pen import Pen

Entry = Mapping[str, Any]
"""A problem as reasoning-gym makes it: question, answer and metadata."""


@dataclass(frozen=True)
class Worked:
    """A problem and its worked solution.

    Attributes:
        question: what is asked.
        answer: the right answer, the only one that counts: a number, or words in an order that is asked for.
        thought: what stands between the think tags.
        key: what makes two problems of a task the same.
    """

    question: str
    answer: str
    thought: str
    key: str


@dataclass(frozen=True)
class TraceTask:
    """A task of reasoning-gym with worked solutions.

    Attributes:
        name: that of reasoning-gym.
        settings: of reasoning-gym, by the length of the traces: one of `splits.LENGTHS`.
        work: the problem of an entry with its solution, in words that vary with the pen; None for an entry
            that is left out.
        check: raises ValueError where a thought claims what is not so and does not mend it.
    """

    name: str
    settings: Mapping[str, Mapping[str, Any]] = field(hash=False)
    work: Callable[[Entry, Pen], Worked | None]
    check: Callable[[str, Entry], None] = lambda thought, _: check_claims(thought)
