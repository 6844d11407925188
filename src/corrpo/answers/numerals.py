"""Numbers written out in digits: their exact value, and how a decimal compares with a number it may round.

Values are compared as whole numbers and powers of ten, never as floats: 0.0 is not 1.6e-19. Nothing here
takes longer than a product of two numbers of as many digits as were written.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

RELATIVE_PRECISION = Fraction(1, 10**6)
"""How far, of its size, a number may lie from a decimal that stands for it."""
SIGNIFICANT_DIGITS = 6
"""Digits, from the first that is not 0, below which a decimal stands for nothing but itself."""
LARGEST_EXPONENT = 10**6
"""Powers of ten beyond which a number is left to others."""

_DIGITS = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_POWER = r"10(?:\^(?:\{([+-]?[0-9]+)\}|([0-9])))?"
_DECIMAL = re.compile(rf"({_DIGITS})(?:(?:\\times|\\cdot|\*){_POWER})?(%)?")
_POWER_OF_TEN = re.compile(_POWER)
_FRACTION = re.compile(r"(?:\\frac\{([+-]?[0-9]+)\}\{([0-9]+)\}|([0-9]+)/([0-9]+))(%)?")
_SIGNS = re.compile(r"\(?([+-]?)\(?")


@dataclass(frozen=True)
class Numeral:
    """A number in digits: mantissa * 10^exponent / denominator.

    Attributes:
        mantissa: with the sign.
        exponent: of ten; for a decimal the place of its last digit, percent taken into account.
        denominator: positive; 1 for all but fractions.
        is_decimal: whether it has a decimal point, so that it may be a rounded number.
        is_percent: whether a percent sign stands behind it.
    """

    mantissa: int
    exponent: int = 0
    denominator: int = 1
    is_decimal: bool = False
    is_percent: bool = False

    @property
    def value(self) -> Fraction:
        """The exact value; as long as its exponent."""
        return Fraction(self.mantissa * 10 ** max(self.exponent, 0), self.denominator) / (
            10 ** max(-self.exponent, 0)
        )

    @property
    def can_round(self) -> bool:
        """Whether it is a decimal of enough digits to stand for a number that it rounds."""
        return self.is_decimal and len(str(abs(self.mantissa))) >= SIGNIFICANT_DIGITS

    @property
    def magnitude(self) -> int:
        """The decimal order of its size, give or take one."""
        return len(str(abs(self.mantissa))) + self.exponent - len(str(self.denominator))


def read_numeral(text: str) -> Numeral | None:
    r"""The number that a text without whitespace is, or None for anything but one number in digits.

    >>> read_numeral("-0.50").value, read_numeral(r"\frac{3}{4}").value, read_numeral("12%").value
    (Fraction(-1, 2), Fraction(3, 4), Fraction(3, 25))
    >>> read_numeral(r"1.5\times10^{-3}").value, read_numeral("2+2")
    (Fraction(3, 2000), None)
    """
    sign, body = _split_sign(text)
    decimal = _DECIMAL.fullmatch(body)
    if decimal:
        digits, braced, bare, percent = decimal.groups()
        power = braced or bare or ("1" if "10" in body[len(digits) :] else "0")
        return _decimal(sign, digits, power, percent is not None)
    power_of_ten = _POWER_OF_TEN.fullmatch(body)
    if power_of_ten:
        return _decimal(sign, "1", power_of_ten[1] or power_of_ten[2] or "1", False)
    fraction = _FRACTION.fullmatch(body)
    if fraction is None:
        return None
    top, bottom = int(fraction[1] or fraction[3]), int(fraction[2] or fraction[4])
    percent = fraction[5] is not None
    return Numeral(sign * top, -2 * percent, bottom, is_percent=percent) if bottom else None


def _split_sign(text: str) -> tuple[int, str]:
    """A sign in front and brackets around the whole, taken off."""
    opening = _SIGNS.match(text)
    front = opening.group() if opening else ""
    brackets = front.count("(")
    body = text[len(front) :]
    if brackets:
        if body[-brackets:] != ")" * brackets:
            return 1, text
        body = body[:-brackets]
    return (-1 if "-" in front else 1), body


def _decimal(sign: int, digits: str, power: str, is_percent: bool) -> Numeral | None:
    if len(power) > 8 or abs(int(power)) > LARGEST_EXPONENT:
        return None
    whole, point, fraction = digits.partition(".")
    exponent = int(power) - len(fraction) - 2 * is_percent
    return Numeral(sign * int(whole + fraction), exponent, 1, bool(point), is_percent)


def same_number(one: Numeral, other: Numeral) -> bool:
    """Whether two numbers are one: exactly, or where the coarser is a decimal, as its rounding.

    A decimal of `SIGNIFICANT_DIGITS` digits or more stands for the numbers that are less than one unit of its
    last digit away from it and within `RELATIVE_PRECISION`. Whole numbers and fractions are exact.

    >>> third, half = read_numeral("1/3"), read_numeral("1/2")
    >>> [same_number(read_numeral(text), third) for text in ("0.333333", "0.33333", "0.333335")]
    [True, False, False]
    >>> same_number(read_numeral("0.5"), half), same_number(read_numeral("0.50000001"), half)
    (True, False)
    """
    if 0 in (one.mantissa, other.mantissa):
        return one.mantissa == other.mantissa
    if abs(one.magnitude - other.magnitude) > 3:
        return False
    shift = min(one.exponent, other.exponent)
    left = Fraction(one.mantissa * 10 ** (one.exponent - shift), one.denominator)
    right = Fraction(other.mantissa * 10 ** (other.exponent - shift), other.denominator)
    if left == right:
        return True
    coarser = max((n for n in (one, other) if n.is_decimal), key=lambda n: n.exponent, default=None)
    if coarser is None or not coarser.can_round:
        return False
    unit = 10 ** (coarser.exponent - shift)
    return abs(left - right) < unit and abs(left - right) <= RELATIVE_PRECISION * max(abs(left), abs(right))


def bare_percent(numeral: Numeral) -> Numeral | None:
    """The number before a percent sign, where it can be meant without the sign: from 1 upward in size.

    >>> bare_percent(read_numeral("50%")).value, bare_percent(read_numeral("0.5%"))
    (Fraction(50, 1), None)
    """
    if not numeral.is_percent or (numeral.mantissa and numeral.magnitude + 2 < 1):
        return None
    bare = Numeral(numeral.mantissa, numeral.exponent + 2, numeral.denominator, numeral.is_decimal)
    return bare if bare.magnitude > 6 or abs(bare.value) >= 1 or not bare.mantissa else None
