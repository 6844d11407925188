"""A suite: the problems that a model is asked, with their answers and how an answer is checked."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

from corrpo.errors import BadInputError

Check = Literal["math", "exact", "reasoning-gym"]
BOXED = "{problem}\n\nPlease reason step by step, and put your final answer within \\boxed{{}}."
"""The usual request of the field."""
BARE = "{problem}"
TAGGED = "{problem}\n\nThink step by step, then give the final answer alone within <answer></answer> tags."
"""For answers that are no mathematics."""


@dataclass(frozen=True)
class Problem:
    """One problem.

    Attributes:
        id: its name, unique in the suite.
        problem: what is asked: text, or chat messages that stand for the whole prompt.
        answer: the right answer; None where a task of reasoning-gym has no single one.
        entry: for a task of reasoning-gym, what its scorer needs.
    """

    id: str
    problem: str | list[dict[str, str]]
    answer: str | None
    entry: Any = None


@dataclass(frozen=True)
class Suite:
    """Problems, and how they are asked and checked.

    Attributes:
        name: as it was asked for.
        source: dataset, task or file.
        revision: commit of a dataset on the hub; None for problems from elsewhere.
        problems: in their order.
        check: how an answer is compared with the right one: math (math-verify), exact (the same text or
            number) or reasoning-gym (its scorer, full score).
        prompt: with a place for {problem}.
        n: generations for each problem, unless others are asked for.
    """

    name: str
    source: str
    revision: str | None
    problems: tuple[Problem, ...]
    check: Check
    prompt: str
    n: int = 1

    @property
    def digest(self) -> str:
        """SHA-256 of ids, problems and answers, in order."""
        content = [[problem.id, problem.problem, problem.answer] for problem in self.problems]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """Everything but the problems, for which digest and number stand; JSON-safe."""
        return {
            "name": self.name,
            "source": self.source,
            "revision": self.revision,
            "digest": self.digest,
            "problems": len(self.problems),
        }


def checked_problem(place: str, name: str, text: Any, answer: str | None) -> Problem:
    """A problem with its answer.

    Raises:
        BadInputError: the text or the answer is empty; begins with `place`.
    """
    if not text or (isinstance(text, str) and not text.strip()):
        raise BadInputError(f"{place}: the problem is empty; leave the row out")
    if answer is None or not answer.strip():
        raise BadInputError(f"{place}: the answer is missing; give the right answer as text, or leave it out")
    return Problem(name, text, answer)
