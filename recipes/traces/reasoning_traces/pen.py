"""What writes steps, in varied words: some with a slip that is noticed and mended, some with a check."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from reasoning_traces.claims import value_of

OPENINGS = ("", "", "Let me see. ", "Okay. ", "First things first. ", "Let me think step by step. ")
JOINTS = ("", "", "Then ", "Next, ", "Now ", "So ")
_MENDS = (
    "Wait, that is not right: {}",
    "No, {}",
    "Hmm, let me do that again: {}",
    "Wait. {}",
    "That is off. {}",
)
_CHECKS = ("Check: {}", "Let me check: {}", "Going back, {}", "To be sure: {}")
_CONFIRMED = (", right. ", ", as it should be. ", ", good. ", ", yes. ")
_INVERSES = {"+": "-", "-": "+", "*": "/", "/": "*"}
_REFUTED = (", but it should be {}. So {}", ", not {}. So {}", ", and not {}. Again: {}")


@dataclass(frozen=True)
class Pen:
    """What writes steps.

    Attributes:
        rng: decides on slips, checks and words.
        slips: the share of steps in which a wrong value is written first, noticed, and mended.
        checks: the share of the other steps that are checked.
    """

    rng: random.Random
    slips: float
    checks: float

    def opening(self) -> str:
        """Words to begin with, often none."""
        return self.rng.choice(OPENINGS)

    def joint(self) -> str:
        """Words to go on with, often none."""
        return self.rng.choice(JOINTS)

    def pick(self, words: Sequence[str]) -> str:
        """One of several wordings."""
        return self.rng.choice(words)

    def slipped(self) -> bool:
        """Whether a step goes wrong at first."""
        return self.rng.random() < self.slips

    def checked(self) -> bool:
        """Whether a step that went well is checked."""
        return self.rng.random() < self.checks

    def step(self, left: int, operator: str, right: int) -> str:
        """One operation on two whole numbers whose result is whole: as claims, each ending with ". ".

        >>> Pen(random.Random(0), slips=0, checks=0).step(12, "-", -3)
        '12 - (-3) = 15. '
        """
        expression = f"{left} {operator} {shown(right)}"
        value = whole(expression)
        if self.slipped():
            wrong = self.slip(value)
            back = _back(operator, right, wrong)
            noticed = self.mended(expression)
            if back and self.rng.random() < 0.5:
                noticed = self.refuted(f"{back} = {whole(back)}", left, f"{expression} = {value}. ")
            return f"{expression} = {wrong}. {noticed}"
        back = _back(operator, right, value)
        if back and self.checked():
            confirmed = f"{back} = {whole(back)}{self.pick(_CONFIRMED)}"
            return f"{expression} = {value}. {self.pick(_CHECKS).format(confirmed)}"
        return f"{expression} = {value}. "

    def mended(self, expression: str) -> str:
        """The true claim of an expression, after words that take a wrong one back."""
        claim = f"{expression} = {whole(expression)}. "
        return self.pick(_MENDS).format(claim)

    def refuted(self, claim: str, wanted: int, again: str) -> str:
        """A check that comes out wrong, and what follows from it; `claim` and `again` are claims."""
        return self.pick(_CHECKS).format(claim) + self.pick(_REFUTED).format(wanted, again)

    def slip(self, value: int) -> int:
        """A wrong value as people write it: off by a little, by ten, or with two digits exchanged.

        >>> Pen(random.Random(0), slips=1, checks=0).slip(57) != 57
        True
        """
        digits = str(abs(value))
        swapped = int(digits[:-2] + digits[-1] + digits[-2]) if len(digits) > 1 and digits[-1] != "0" else 0
        choices = [value + 1, value - 1, value + 2, value + 10, value - 10, swapped if value > 0 else 0]
        return self.rng.choice(
            [choice for choice in choices if choice != value and choice * value > 0] or [value + 1]
        )


def _back(operator: str, right: int, value: int) -> str:
    """The inverse operation on a result, which should give the left side; empty if that is not whole."""
    if operator == "*" and (right == 0 or value % right):
        return ""
    return f"{value} {_INVERSES[operator]} {shown(right)}"


def shown(number: int) -> str:
    """A number behind an operator.

    >>> shown(3), shown(-3)
    ('3', '(-3)')
    """
    return f"({number})" if number < 0 else str(number)


def whole(expression: str) -> int:
    """The value of an expression, which must be a whole number."""
    value = value_of(expression)
    if value is None or value.denominator != 1:
        raise ValueError(f"{expression} is no whole number")
    return int(value)
