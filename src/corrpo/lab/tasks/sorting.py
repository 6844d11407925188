"""Sorting: three or four numbers in ascending or descending order, picked one after the other."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from corrpo.lab.tasks.task import OPENINGS, TURNS, LabTask

PHRASINGS = ("Sort {} in {} order.", "Put {} in {} order.", "Write {} in {} order.", "{} in {} order?")
PICKS = (": take ", ": take ", ": pick ", ", that gives ", ", so ")


@dataclass(frozen=True)
class Sorting:
    """Some whole numbers, all different, to put in order."""

    question: str
    """What the user asks, for example `Sort 45, 12, 78 in descending order.`."""
    numbers: tuple[int, ...]
    """The numbers as they are given."""
    descending: bool
    """From the largest down; otherwise from the smallest up."""

    @property
    def answer(self) -> str:
        """The numbers in order, with spaces between.

        >>> Sorting("", (45, 12, 78), True).answer
        '78 45 12'
        """
        return _listed(sorted(self.numbers, reverse=self.descending))

    @property
    def key(self) -> tuple[int, ...]:
        """What makes two problems the same: direction and numbers, whatever their order."""
        return (int(self.descending), *sorted(self.numbers))

    def work(self, rng: random.Random) -> str:
        """What is left, and the next number of it, until one is left; in varied words.

        >>> Sorting("", (45, 12, 78), True).work(random.Random(0))
        'ok, 45 12 78, that gives 78. now 45 12: pick 45. and 12'
        """
        left, parts = list(self.numbers), [rng.choice(OPENINGS)]
        while len(left) > 1:
            picked = max(left) if self.descending else min(left)
            parts.append(f"{_listed(left)}{rng.choice(PICKS)}{picked}{rng.choice(TURNS)}")
            left.remove(picked)
        return "".join([*parts, _listed(left)])


def _listed(numbers: list[int]) -> str:
    return " ".join(map(str, numbers))


def _posed(entry: Mapping[str, Any], rng: random.Random) -> Sorting | None:
    """An entry in one of several words; no number twice."""
    numbers = tuple(int(float(number)) for number in entry["metadata"]["original_numbers"])
    direction = entry["metadata"]["direction"]
    phrasing = PHRASINGS[rng.randrange(len(PHRASINGS))]
    question = phrasing.format(", ".join(map(str, numbers)), direction)
    posed = Sorting(question, numbers, direction == "descending")
    return posed if len(set(numbers)) == len(numbers) else None


SORTING = LabTask(
    "sorting",
    "number_sorting",
    {"min_numbers": 3, "max_numbers": 4, "max_decimals": 0, "min_value": 10, "max_value": 99},
    _posed,
)
"""Checked by the text alone: reasoning-gym's own scorer takes numbers that are off by one for right."""
