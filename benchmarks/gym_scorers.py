"""Every scorer of reasoning-gym, tried with right and wrong answers: `python benchmarks/gym_scorers.py`.

Prints the table of docs/SCORERS.md: by task, how many of its own answers and of the wrong ones get the full
score of reasoning-gym, and how many are right to corrpo.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import reasoning_gym
from reasoning_gym.factory import DATASETS

from common import table
from corrpo.answers.verifier import Reply
from corrpo.evaluation.suites.reasoning_gym_scorers import EXACT, FORMS, REFUSED
from corrpo.evaluation.suites.reasoning_gym_verifier import VERIFIER, GymQuestion, judge_gym

PROBLEMS, SEED = 20, 5
TASKS = sorted(set(DATASETS) - {"composite"})
"""All but the one that mixes others and has no problems by its defaults."""
ALIKE = {"empty": "", "zzz": "zzz", "0": "0", "other numbers": "(1+2+3)*4"}
"""Wrong answers that are the same for every problem."""
OWN = "own"
"""The name of the right answer among those that are tried."""
_EXAMPLES = {
    "graph_color": lambda metadata: json.dumps(metadata["possible_answer"]),
    "propositional_logic": lambda metadata: metadata["example_answer"],
    "rubiks_cube": lambda metadata: metadata["example_correct_answer"],
}


def right_answer(task: str, entry: dict[str, Any]) -> str | None:
    """The answer, or the example of one, that the task itself gives; None for a task without."""
    if task in _EXAMPLES:
        return _EXAMPLES[task](entry["metadata"])
    return None if entry["answer"] is None else str(entry["answer"]).strip()


def off_by_one(answer: str) -> str:
    """The last digit made another; without a digit, the letter in the middle.

    >>> off_by_one("-3.9 cm"), off_by_one("True")
    ('-3.0 cm', 'Trqe')
    """
    digits = [place for place, letter in enumerate(answer) if letter in "0123456789"]
    place = digits[-1] if digits else len(answer) // 2
    letter = answer[place : place + 1]
    other = str((int(letter) + 1) % 10) if digits else "z" if letter in "qQ" else "q"
    return answer[:place] + other + answer[place + 1 :]


def wrong_answers(question: str, right: str | None, another: str | None) -> Iterator[tuple[str, str]]:
    """Names of wrong answers, and each; one that happens to be the right one is left out."""
    answers = {**ALIKE, "question": question}
    if another is not None:
        answers["another's"] = another
    if right is not None:
        answers |= {"off by one": off_by_one(right), "minus": f"-{right}", "and more": f"{right} zzz"}
        answers |= {} if another is None else {"both": f"{right} or {another}"}
    for name, answer in answers.items():
        if right is None or _plain(answer) != _plain(right):
            yield name, answer


def _plain(answer: str) -> str:
    text = re.sub(r"\s", "", answer).casefold()
    return str(float(text) + 0.0) if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text) else text


class Trial(NamedTuple):
    """One answer to one problem."""

    name: str
    answer: str
    entry: Any
    """The problem."""


def trials(task: str, problems: int = PROBLEMS, seed: int = SEED) -> list[Trial]:
    """Everything that is tried on a task, the right answers under the name `OWN`."""
    entries = list(reasoning_gym.create_dataset(task, size=problems, seed=seed))
    own = [right_answer(task, entry) for entry in entries]
    tried = [Trial(OWN, right, entry) for right, entry in zip(own, entries, strict=True) if right is not None]
    for right, another, entry in zip(own, own[1:] + own[:1], entries, strict=True):
        wrong = wrong_answers(entry["question"], right, another)
        tried += [Trial(name, answer.strip(), entry) for name, answer in wrong]
    return tried


def gym_replies(task: str, tried: Sequence[Trial]) -> list[Reply]:
    """What reasoning-gym alone says."""
    return VERIFIER.ask([GymQuestion(task, trial.answer, trial.entry) for trial in tried])


def corrpo_replies(task: str, tried: Sequence[Trial]) -> list[Reply]:
    """What `corrpo evaluate` says."""
    return judge_gym(task, [trial.answer for trial in tried], [trial.entry for trial in tried])


def right_ones(tried: Sequence[Trial], replies: Sequence[Reply]) -> Counter[str]:
    """By the name of an answer, how many were right."""
    pairs = zip(tried, replies, strict=True)
    return Counter(trial.name for trial, reply in pairs if reply.verdict == "right")


def row(task: str) -> list[str]:
    """What was found for a task."""
    tried = trials(task)
    total = sum(trial.name == OWN for trial in tried)
    found = []
    for replies in (gym_replies, corrpo_replies):
        right = right_ones(tried, replies(task, tried))
        own = f"{right.pop(OWN, 0)} of {total}" if total else "it gives none"
        found += [own, ", ".join(f"{name} {count}" for name, count in right.items()) or "none"]
    if task in REFUSED:
        found[2:] = ["", ""]
    return [task, *found, what_is_done(task)]


def what_is_done(task: str) -> str:
    """What corrpo does with a task."""
    if task in REFUSED:
        return "refused"
    return "a check of ours" if task in EXACT else "the form is checked first" if task in FORMS else "taken"


if __name__ == "__main__":
    table(["task", "own", "wrong", "own, corrpo", "wrong, corrpo", "corrpo"], [row(task) for task in TASKS])
