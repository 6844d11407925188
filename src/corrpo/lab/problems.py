"""Arithmetic problems from reasoning-gym, their worked scratchpads, and the verifier of a response."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, islice
from typing import Any

TASK = "chain_sum"
SETTINGS = {"min_terms": 2, "max_terms": 3, "min_digits": 2, "max_digits": 3}
HELD_OUT_SIZE = 1000
HELD_OUT_START, VALIDATION_START, TRAIN_START = 0, 1_000_000, 10_000_000
RANGE_PER_SEED = 10_000_000
TRAINING_ROWS, EVALUATION_ROWS = 4000, 256
TRAINING_SEED = 1  # seed 0 trained the shipped checkpoints

PHRASINGS = ("What is {}?", "Calculate {}.", "Work out {}.", "{} = ?")
OPENINGS = ("", "", "first ", "ok, ", "let me see, ", "start with ")
JOINTS = (", ", ", ", ", then ", " and ")
RESULTS = (", so ", ", so ", ", that is ", ", giving ", " makes ")
TURNS = (". now ", ". now ", ". then ", ". next ", ". and ")


@dataclass(frozen=True)
class Problem:
    """One sum of whole numbers, as reasoning-gym posed it."""

    question: str
    """What the user asks, for example `What is 98 + 93 - 77?`."""
    expression: str
    """The sum alone, for example `98 + 93 - 77`."""
    answer: str
    """Its value in decimal digits; never negative, nor is any partial sum."""

    @property
    def terms(self) -> tuple[int, ...]:
        """The signed terms, in order.

        >>> Problem("", "98 + 93 - 77", "114").terms
        (98, 93, -77)
        """
        return tuple(int(term) for term in re.findall(r"-?\d+", self.expression.replace(" ", "")))

    @property
    def key(self) -> tuple[int, ...]:
        """What makes two problems the same: the signed terms, whatever their order."""
        return tuple(sorted(self.terms))


def _stream(start: int) -> Iterator[Problem]:
    """Distinct problems from the reasoning-gym seeds `start`, `start + 1`, ...; no negative partial sums."""
    import reasoning_gym

    items = reasoning_gym.create_dataset(TASK, seed=start, size=RANGE_PER_SEED, **SETTINGS)
    seen: set[tuple[int, ...]] = set()
    for index in range(RANGE_PER_SEED):
        entry = items[index]
        phrasing = PHRASINGS[random.Random(start + index).randrange(len(PHRASINGS))]
        expression = entry["metadata"]["expression"]
        problem = Problem(phrasing.format(expression), expression, entry["answer"])
        if min(accumulate(problem.terms)) >= 0 and problem.key not in seen:
            seen.add(problem.key)
            yield problem


def held_out_problems(count: int = HELD_OUT_SIZE) -> list[Problem]:
    """The first `count` of the 1000 held-out problems; always the same ones, no training problem among them.

    >>> held_out_problems(1)[0] == held_out_problems(2)[0]
    True
    """
    if not 0 <= count <= HELD_OUT_SIZE:
        raise ValueError(f"count is {count}; there are {HELD_OUT_SIZE} held-out problems")
    return list(_held_out()[:count])


@cache
def _held_out() -> tuple[Problem, ...]:
    """Every held-out problem."""
    return tuple(islice(_stream(HELD_OUT_START), HELD_OUT_SIZE))


def validation_problems(count: int) -> list[Problem]:
    """`count` problems that decide when training stops: in neither the held-out nor the training set."""
    held_out = {problem.key for problem in held_out_problems()}
    fresh = (problem for problem in _stream(VALIDATION_START) if problem.key not in held_out)
    return list(islice(fresh, count))


def training_problems(count: int, seed: int, *, validation: int = 0) -> list[Problem]:
    """`count` distinct problems, none of them held out or among the first `validation` validation problems.

    Each seed owns a range of 10 million reasoning-gym seeds, because reasoning-gym seeds item i with
    `seed + i` and neighbouring seeds would share nearly all items.

    >>> {p.key for p in training_problems(50, seed=0)} & {p.key for p in held_out_problems()}
    set()
    """
    if seed < 0:
        raise ValueError(f"seed is {seed}; it must be 0 or more")
    kept_back = {problem.key for problem in (*held_out_problems(), *validation_problems(validation))}
    fresh = (
        problem for problem in _stream(TRAIN_START + seed * RANGE_PER_SEED) if problem.key not in kept_back
    )
    return list(islice(fresh, count))


def read_in_training(count: int = TRAINING_ROWS) -> list[Problem]:
    """The first `count` sums that `corrpo train` reads as lab:sums; the shipped checkpoints read others.

    >>> {p.key for p in read_in_training(50)} & {p.key for p in held_out_problems()}
    set()
    """
    return training_problems(count, TRAINING_SEED, validation=EVALUATION_ROWS)


def scratchpad(problem: Problem, rng: random.Random) -> str:
    """The worked answer: digit by digit from the units, with carries and borrows, in varied words.

    >>> scratchpad(Problem("", "98 + 93", "191"), random.Random(0))
    '<think>ok, 98+93: 8+3=11 and 9+9+1=19, so 191</think><answer>191</answer>'
    """
    total, *rest = problem.terms
    parts = [rng.choice(OPENINGS)]
    for index, term in enumerate(rest):
        parts.append(rng.choice(TURNS) if index else "")
        parts.append(_worked_step(total, term, rng))
        total += term
    return f"<think>{''.join(parts)}</think>{direct_answer(problem)}"


def direct_answer(problem: Problem) -> str:
    """The answer alone, in its tags.

    >>> direct_answer(Problem("", "98 + 93", "191"))
    '<answer>191</answer>'
    """
    return f"<answer>{problem.answer}</answer>"


def _worked_step(total: int, term: int, rng: random.Random) -> str:
    """One addition or subtraction written out; `total + term` is 0 or more."""
    columns = _added(total, term) if term >= 0 else _subtracted(total, -term)
    worked = columns[0] + "".join(rng.choice(JOINTS) + column for column in columns[1:])
    return f"{total}{term:+d}: {worked}{rng.choice(RESULTS)}{total + term}"


def _digit_pairs(top: int, bottom: int) -> list[tuple[int, int]]:
    """The digits of two numbers in columns, units first, the shorter one filled with zeros."""
    width = max(len(str(top)), len(str(bottom)))
    return [(top // 10**place % 10, bottom // 10**place % 10) for place in range(width)]


def _added(top: int, bottom: int) -> list[str]:
    """Columns of an addition: `8+3=11`, and `9+9+1=19` with the carry."""
    columns, carry = [], 0
    for upper, lower in _digit_pairs(top, bottom):
        value = upper + lower + carry
        columns.append(f"{upper}+{lower}{'+1' if carry else ''}={value}")
        carry = value // 10
    return columns


def _subtracted(top: int, bottom: int) -> list[str]:
    """Columns of a subtraction: `13-8=5` where ten is borrowed, and `9-2-1=6` in the column that lends it."""
    columns, borrow = [], 0
    for upper, lower in _digit_pairs(top, bottom):
        lent = 10 if upper < lower + borrow else 0
        columns.append(f"{upper + lent}-{lower}{'-1' if borrow else ''}={upper + lent - lower - borrow}")
        borrow = lent // 10
    return columns


def extract_answer(response: str) -> str | None:
    """The text of the last `<answer>...</answer>` in a response, or None.

    >>> extract_answer("<think>1+1=2</think><answer> 2</answer>")
    '2'
    """
    found = re.findall(r"<answer>([^<]*)</answer>", response)
    return found[-1].strip() if found else None


def is_solved(response: str, answer: str) -> bool:
    """True if the tagged answer of a response gets reasoning-gym's full score; partial scores count as False.

    >>> is_solved("<answer>114</answer>", "114"), is_solved("114", "114")
    (True, False)
    """
    import reasoning_gym

    given = extract_answer(response)
    score_answer: Any = reasoning_gym.get_score_answer_fn(TASK)
    score = score_answer(given, {"answer": answer, "metadata": {}})
    return given is not None and score >= 1.0
