"""Claims of arithmetic in a text, like `12 boxes * 3 = 36`: read, worked out, and found true or mended."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

_NUMBER = r"\(?-?\d+(?:\.\d+)?\)?"
_CLAIM = re.compile(rf"({_NUMBER}(?: [-+*/] {_NUMBER})+) = ({_NUMBER})(?![\w/*]| [-+*/])")
_UNITS = re.compile(r"(?<=[\d)])(?: [a-zA-Z]+){1,3}(?:/[a-zA-Z]+)?(?= [-+*/=] )")


@dataclass(frozen=True)
class Claim:
    """A claim of a text.

    Attributes:
        left: an expression of numbers with one space around each operator.
        right: the number that it is said to be.
        start, end: where the text of `right` stands in the text without units.
    """

    left: str
    right: str
    start: int
    end: int

    @property
    def is_true(self) -> bool:
        """Whether the expression has that value."""
        return value_of(self.left) == _number(self.right)


def without_units(text: str) -> str:
    """A text without what stands between a number and an operator, and without currencies.

    >>> without_units("9 puzzles * €10 = €90 on puzzles")
    '9 * 10 = 90 on puzzles'
    """
    return _UNITS.sub("", re.sub(r"[$€£]", "", text))


def claims_of(text: str) -> Iterator[Claim]:
    """Every claim of a text, in order.

    >>> [claim.is_true for claim in claims_of("2 * 3 + 1 = 7, and 7 - (-2) = 8")]
    [True, False]

    Raises:
        ValueError: an equals sign that belongs to no claim that can be read.
    """
    plain = without_units(text)
    found = list(_CLAIM.finditer(plain))
    if len(found) != plain.count("="):
        raise ValueError(f"not every = stands in a claim that can be read: {text!r}")
    for match in found:
        yield Claim(match.group(1), match.group(2), match.start(2), match.end(2))


def check_claims(text: str) -> None:
    """Raise ValueError at a false claim with no true one of the same expression after it.

    >>> check_claims("2 + 2 = 5. No, 2 + 2 = 4.")
    """
    claims = list(claims_of(text))
    for number, claim in enumerate(claims):
        if not claim.is_true and not any(
            later.left == claim.left and later.is_true for later in claims[number + 1 :]
        ):
            raise ValueError(f"{claim.left} = {claim.right} is false and not mended: {text!r}")


def value_of(expression: str) -> Fraction | None:
    """The value of numbers with + - * / between them, by the usual precedence; None if divided by 0.

    >>> value_of("8 + 3 * (-2)"), value_of("1 / 0")
    (Fraction(2, 1), None)
    """
    first, *rest = expression.split(" ")
    total, product = Fraction(0), _number(first)
    for operator, word in zip(rest[::2], rest[1::2], strict=True):
        number = _number(word)
        if operator == "*":
            product *= number
        elif operator == "/":
            if number == 0:
                return None
            product /= number
        else:
            total, product = total + product, number if operator == "+" else -number
    return total + product


def _number(word: str) -> Fraction:
    return Fraction(word.strip("()"))
