"""The verdict on an answer to a problem of reasoning-gym, with a time limit."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from corrpo.answers.verifier import START_LIMIT, Process, Reply, Verifier
from corrpo.errors import require_packages
from corrpo.evaluation.suites.reasoning_gym_scorers import EXACT, FORMS

_WORKER = Path(__file__).with_name("reasoning_gym_worker.py")


class GymQuestion(NamedTuple):
    """Something to ask of a scorer of reasoning-gym."""

    task: str
    answer: str | None
    """Without whitespace around it; None to have the task made ready."""
    entry: Any
    """The problem as reasoning-gym made it."""


class GymVerifier(Verifier):
    """A few processes that run reasoning-gym's scorers: `ask` takes each `GymQuestion`.

    Scorers evaluate expressions and simulate moves, as many as the answer has: hence the limits.
    """

    def _start(self) -> Process:
        require_packages("a task of reasoning-gym", "reasoning_gym", extra="tasks")
        return _GymProcess(_WORKER, "reasoning_gym")


class _GymProcess(Process):
    """One process; what a task reads before its first problem does not count as time of an answer."""

    def __init__(self, script: Path, package: str) -> None:
        self.ready: set[str] = set()
        super().__init__(script, package)

    def ask(self, question: GymQuestion, limit: float) -> Reply:
        if question.task not in self.ready:
            reply = super().ask(GymQuestion(question.task, None, None), START_LIMIT)
            if reply.verdict != "ready":
                return reply
            self.ready.add(question.task)
        return super().ask(question, limit)


VERIFIER = GymVerifier()


def judge_gym(task: str, answers: Sequence[str | None], entries: Sequence[Any]) -> list[Reply]:
    """The verdict on each answer to the problem beside it, by the tables of `reasoning_gym_scorers`.

    right for the full score, wrong, unparsed for None, timeout, or error with what the scorer raised.

    Raises:
        CorrpoError: reasoning-gym is not installed, or its process does not start.
    """
    verdicts = [_own_verdict(task, answer, entry) for answer, entry in zip(answers, entries, strict=True)]
    open_ones = [
        GymQuestion(task, answer.strip(), entry)
        for verdict, answer, entry in zip(verdicts, answers, entries, strict=True)
        if verdict is None and answer is not None
    ]
    replies = iter(VERIFIER.ask(open_ones))
    return [next(replies) if verdict is None else Reply(verdict, "") for verdict in verdicts]


def _own_verdict(task: str, answer: str | None, entry: Any) -> str | None:
    """The verdict that needs no scorer of reasoning-gym; None where one has to be asked."""
    if answer is None:
        return "unparsed"
    if task in EXACT:
        return "right" if EXACT[task](answer.strip(), entry) else "wrong"
    return "wrong" if task in FORMS and not FORMS[task].fullmatch(answer.strip()) else None
