"""knights_knaves: who tells the truth, by trying who is what until every word fits its speaker."""

import re
from collections.abc import Sequence
from itertools import product
from typing import Any

from reasoning_gym.logic.knights_knaves import KnightsKnavesDataset

from reasoning_traces.pen import Pen
from reasoning_traces.task import Entry, TraceTask, Worked

_MENDS = ("wait, no, it is", "no, read again, it is", "not so, it is")
_SUPPOSED = re.compile(r"\[([^\]]+)\]")
_WORDS = {False: "false", True: "true"}


def work(entry: Entry, pen: Pen) -> Worked:
    """Suppositions in a random order; each is given up at the first word that does not fit its speaker."""
    told = entry["metadata"]
    names, solution = told["names"], tuple(map(bool, told["solution"]))
    roles = _roles(told)
    wrong = [roles_of for roles_of in product((True, False), repeat=len(names)) if roles_of != solution]
    pen.rng.shuffle(wrong)
    steps = [pen.opening()]
    for supposed in (*wrong[: pen.rng.randint(1, len(names) + 1)], solution):
        listed = ", ".join(f"{name} {roles[truth]}" for name, truth in zip(names, supposed, strict=True))
        steps.append(f"{pen.pick(('Suppose', 'Try', 'Say', 'What if'))} [{listed}]. ")
        for name, truth, statement in zip(names, supposed, told["statements"], strict=True):
            holds = is_so(statement, supposed)
            steps.append(f"What {name} says is {_judged(holds, pen)}")
            if holds != truth:
                steps.append(f", but {pen.pick(('every', 'each'))} {roles[truth]} {_HABITS[truth]}. ")
                break
            steps.append(pen.pick((", fine. ", ", as it must be. ", ". ")))
    steps.append(pen.pick(("All of it fits.", "That works.", "No contradiction.")))
    question, _, _ = entry["question"].partition(" (Format your answer")
    example = ", ".join(roles[n % 2 == 0] for n in range(len(names)))
    question = f"{question} Answer for {', '.join(names)} in this order, like: {example}."
    answer = ", ".join(roles[truth] for truth in solution)
    return Worked(question, answer, "".join(steps), str(told["statements"]))


_HABITS = {True: "tells the truth", False: "lies"}


def check(thought: str, entry: Entry) -> None:
    """Raise ValueError where a word is misjudged and not mended, or a supposition wrongly given up."""
    told = entry["metadata"]
    names, knight = told["names"], _roles(told)[True]
    _, *parts = _SUPPOSED.split(thought)
    supposed: Sequence[bool] = ()
    for listed, judged in zip(parts[::2], parts[1::2], strict=True):
        supposed = [person.split(" ")[-1] == knight for person in listed.split(", ")]
        fits = True
        for name, truth, statement in zip(names, supposed, told["statements"], strict=True):
            said = re.search(rf"What {name} says is ([^.]*)", judged)
            if said is None:
                break
            last = re.findall(r"\b(true|false)\b", said.group(1))[-1]
            if last != _WORDS[is_so(statement, supposed)]:
                raise ValueError(f"what {name} says is misjudged under [{listed}]: {thought!r}")
            fits = fits and (last == "true") == truth
        if fits != (listed == parts[-2]):
            raise ValueError(f"[{listed}] is given up or kept wrongly: {thought!r}")
    if tuple(supposed) != tuple(map(bool, told["solution"])):
        raise ValueError(f"the last supposition is not the solution: {thought!r}")


def is_so(statement: Any, supposed: Sequence[bool]) -> bool:
    """Whether a statement holds if those of `supposed` that are True tell the truth."""
    return bool(KnightsKnavesDataset.test_satisfiability(statement, supposed))


def _judged(holds: bool, pen: Pen) -> str:
    """The truth of a statement, perhaps only after a misreading."""
    return f"{_WORDS[not holds]}, {pen.pick(_MENDS)} {_WORDS[holds]}" if pen.slipped() else _WORDS[holds]


def _roles(told: Any) -> dict[bool, str]:
    terms = told["knight_knave_terms"]
    return {True: terms["knight"], False: terms["knave"]}


TASK = TraceTask(
    "knights_knaves",
    {
        "brief": {"n_people": 2, "depth_constraint": 3, "width_constraint": 2},
        "short": {"n_people": 3, "depth_constraint": 2, "width_constraint": 2},
        "long": {"n_people": 4, "depth_constraint": 3, "width_constraint": 2},
    },
    work,
    check,
)
