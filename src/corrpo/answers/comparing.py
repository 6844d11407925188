"""Two plain answers compared: as text up to whitespace, and as decimal numbers however they are written.

Text work in linear time, as in `reading`: no number is converted, so that hostile text costs nothing.
"""

import re

_NUMBER = re.compile(r"(?=.*[0-9])([+-]?)([0-9]{1,3}(?:,[0-9]{3})+|[0-9]*)(?:\.([0-9]*))?")


def plain_number(text: str) -> str | None:
    """A decimal number in one canonical spelling, or None for anything else.

    A sign, groups of three digits set apart by commas, leading zeros, and zeros that end a fraction are all
    spelling. There is no rounding and no limit on the number of digits.

    >>> [plain_number(text) for text in ("1,000", "+7.0", "-.50", "-0", "1,00", "7e2")]
    ['1000', '7', '-0.5', '0', None, None]
    """
    match = _NUMBER.fullmatch(text.strip().replace("−", "-"))
    if match is None:
        return None
    sign, integer, fraction = match.groups()
    integer = integer.replace(",", "").lstrip("0") or "0"
    fraction = (fraction or "").rstrip("0")
    size = f"{integer}.{fraction}" if fraction else integer
    return f"-{size}" if sign == "-" and size != "0" else size


def same_answer(one: str, other: str) -> bool:
    """Whether two plain answers are the same text up to whitespace, or the same decimal number.

    Whitespace at the ends goes and every other run of it is one space; case and everything else counts.
    Numbers are compared by `plain_number`: 1,000 is 1000 and 7.0 is 7, but 1/2 is not 0.5.

    >>> same_answer(" New\\n York", "New York"), same_answer("7.0", "7"), same_answer("Paris", "paris")
    (True, True, False)
    """
    if one.split() == other.split():
        return True
    number = plain_number(one)
    return number is not None and number == plain_number(other)
