"""Sums of whole numbers, worked out digit by digit: as the lab learned them, in other words, and longer."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

from corrpo.lab.tasks.task import OPENINGS, TURNS, LabTask

PHRASINGS = ("What is {}?", "Calculate {}.", "Work out {}.", "{} = ?")
OTHER_PHRASINGS = ("How much is {}?", "Please add up {}.", "Tell me {}.", "Solve {} for me.")
"""None of them is in what the lab's checkpoints learned from."""
JOINTS = (", ", ", ", ", then ", " and ")
RESULTS = (", so ", ", so ", ", that is ", ", giving ", " makes ")


@dataclass(frozen=True)
class Sum:
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

        >>> Sum("", "98 + 93 - 77", "114").terms
        (98, 93, -77)
        """
        return tuple(int(term) for term in re.findall(r"-?\d+", self.expression.replace(" ", "")))

    @property
    def key(self) -> tuple[int, ...]:
        """What makes two problems the same: the signed terms, whatever their order."""
        return tuple(sorted(self.terms))

    def work(self, rng: random.Random) -> str:
        """Digit by digit from the units, with carries and borrows, in varied words.

        >>> Sum("", "98 + 93", "191").work(random.Random(0))
        'ok, 98+93: 8+3=11 and 9+9+1=19, so 191'
        """
        total, *rest = self.terms
        parts = [rng.choice(OPENINGS)]
        for index, term in enumerate(rest):
            parts.append(rng.choice(TURNS) if index else "")
            parts.append(_worked_step(total, term, rng))
            total += term
        return "".join(parts)


def _posed(phrasings: Sequence[str], entry: Mapping[str, Any], rng: random.Random) -> Sum | None:
    """An entry in one of some words; no negative partial sums."""
    expression = entry["metadata"]["expression"]
    posed = Sum(phrasings[rng.randrange(len(phrasings))].format(expression), expression, entry["answer"])
    return posed if min(accumulate(posed.terms)) >= 0 else None


_SHORT = {"min_terms": 2, "max_terms": 3, "min_digits": 2, "max_digits": 3}
SUMS = LabTask("sums", "chain_sum", _SHORT, partial(_posed, PHRASINGS))
REWORDED_SUMS = LabTask("reworded-sums", "chain_sum", _SHORT, partial(_posed, OTHER_PHRASINGS))
LONG_SUMS = LabTask(
    "long-sums",
    "chain_sum",
    {"min_terms": 4, "max_terms": 4, "min_digits": 2, "max_digits": 2},
    partial(_posed, PHRASINGS),
)


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
