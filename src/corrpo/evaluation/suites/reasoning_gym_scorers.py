"""What is done where a scorer of reasoning-gym gives wrong answers the full score: three tables, by task.

`REFUSED` are tasks that make no problems here. `EXACT` are checks of ours, which take the place of the task's
scorer. `FORMS` are patterns: an answer that is not of the form is wrong, and the task's scorer judges the
others; some of these scorers would run it as Python. Every other task is scored by reasoning-gym alone.
docs/SCORERS.md has what was found, by `benchmarks/gym_scorers.py`.
"""

import ast
import json
import re
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from typing import Any

from corrpo.answers.comparing import same_answer

Entry = Mapping[str, Any]
"""A problem as reasoning-gym makes it: question, answer and metadata."""

REFUSED = {
    "propositional_logic": (
        "the premises of many of its problems contradict each other, and any statement then gets the full "
        "score; use rg:knights_knaves, rg:circuit_logic or rg:zebra_puzzles"
    ),
}
"""By task, what was found and what to use instead."""

_FUNCTIONS = "exp|log|ln|sqrt|sinh|cosh|tanh|sin|cos|tan|sec|csc|cot|asin|acos|atan|asinh|acosh|atanh|Abs"
_ALGEBRA = r"[0-9\s+*/^().-]"
FORMS = {
    "intermediate_integration": re.compile(rf"(?:{_ALGEBRA}|\b(?:{_FUNCTIONS}|[A-Za-z])\b)*"),
    "kakurasu": re.compile(r"[01\s]*"),
    "polynomial_multiplication": re.compile(rf"(?:{_ALGEBRA}|\b[A-Za-z]\b)*"),
    "quantum_lock": re.compile(r"[ABCabc\s,]*(?:(?:→|->)[ABCabc\s,]*)*"),
    "simple_integration": re.compile(rf"(?:{_ALGEBRA}|\b[A-Za-z]\b)*"),
    "sokoban": re.compile(r"[LRUD\s,]*"),
    "survo": re.compile(r"[0-9\s]*"),
    "tower_of_hanoi": re.compile(r"(?:Move disk \d+ from Peg \d+ to Peg \d+\s*)*"),
}
"""By task, what an answer looks like."""

_LONGEST = 1000
_FRACTION = re.compile(r"(-?[0-9]{1,40})\s*/\s*([0-9]{1,40})")
_LATEX_FRACTION = re.compile(r"\\d?frac\s*\{\s*([0-9]{1,40})\s*\}\s*\{\s*([0-9]{1,40})\s*\}")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_BETWEEN = re.compile(r"\s*(?:,\s*and\b|,|\band\b)\s*")
_ROLE = re.compile(r"[\w-]+ is an? [\w-]+")
_DURATION = re.compile(
    r"(?:([0-9]{1,9})\s+days?)?(?:(?:^|,)\s*([0-9]{1,3}):([0-9]{1,2})(?::([0-9]{1,2}(?:\.[0-9]+)?))?)?"
)


def _same_lines(answer: str, entry: Entry) -> bool:
    """The same words on the same lines."""
    lines = [[line.split() for line in text.strip().splitlines()] for text in (answer, entry["answer"])]
    return lines[0] == lines[1]


def _same_words(answer: str, entry: Entry) -> bool:
    """The same words, in upper or lower case."""
    return answer.casefold().split() == str(entry["answer"]).casefold().split()


def _same_number(answer: str, entry: Entry) -> bool:
    return same_answer(answer, entry["answer"])


def _same_json(answer: str, entry: Entry) -> bool:
    try:
        given, wanted = (json.loads(text, parse_float=Decimal) for text in (answer, entry["answer"]))
        return _equal(given, wanted)
    except (ValueError, RecursionError):
        return answer.strip() == entry["answer"].strip()


def _equal(one: Any, other: Any) -> bool:
    """Whether JSON values are equal: true and false are no numbers, as they are in Python.

    >>> _equal({"a": [1, None]}, {"a": [Decimal("1.0"), None]}), _equal([1], [True]), _equal({}, {"a": None})
    (True, False, False)
    """
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _one_of_the_boards(answer: str, entry: Entry) -> bool:
    return any(_same_lines(answer, {"answer": board}) for board in entry["metadata"]["valid_answers"])


def _decimals(text: str, separator: str | None) -> list[Decimal] | None:
    """The decimal numbers of a list; None if there is anything else in it."""
    words = [word.strip() for word in text.split(separator)]
    if len(text) > _LONGEST or not all(_DECIMAL.fullmatch(word) for word in words):
        return None
    return [Decimal(word) for word in words]


def _largest_or_smallest(answer: str, entry: Entry) -> bool:
    """The number as the question writes it, or as the task does: these differ in the last digits."""
    metadata = entry["metadata"]
    place = metadata["candidates"].index(metadata["solution"])
    wanted = [metadata["formatted_candidates"][place], entry["answer"]]
    given = _decimals(answer.replace(",", ""), None)
    return given is not None and given in [[Decimal(text.replace(",", ""))] for text in wanted]


def _sorted_numbers(answer: str, entry: Entry) -> bool:
    """A JSON list, with either quotes, of the same numbers in the same order."""
    wanted = [Decimal(number) for number in entry["metadata"]["sorted_numbers"]]
    try:
        given = json.loads(answer.replace("'", '"'))
    except (ValueError, RecursionError):
        return False
    if not isinstance(given, list) or not all(isinstance(number, str | int | float) for number in given):
        return False
    return all(_DECIMAL.fullmatch(str(number)) for number in given) and wanted == [
        Decimal(str(number)) for number in given
    ]


def _rounded(value: Fraction, figures: int) -> Decimal:
    """A number to so many significant digits, halves away from zero."""
    context = Context(prec=figures, rounding=ROUND_HALF_UP)
    return context.divide(Decimal(value.numerator), Decimal(value.denominator))


def _probability(answer: str, entry: Entry) -> bool:
    """The fraction, or its decimal to as many significant digits as are given, at least four."""
    rational = entry["metadata"]["rational"]
    wanted = Fraction(rational["numerator"], rational["denominator"])
    fraction = _FRACTION.fullmatch(answer.strip())
    if fraction:
        numerator, denominator = map(int, fraction.groups())
        return denominator != 0 and Fraction(numerator, denominator) == wanted
    given = _decimals(answer, None)
    if given is None or len(given) != 1:
        return False
    _, digits, exponent = given[0].as_tuple()
    error = abs(Fraction(given[0]) - wanted)
    return error == 0 or (len(digits) >= 4 and error <= Fraction(10) ** int(exponent) / 2)


def _value(expression: str, numbers: list[Fraction] | None = None) -> Fraction | None:
    """The exact value of + - * / and brackets over decimal numbers; None for anything else.

    >>> _value("(1 + 2) / 4"), _value("9**9**9"), _value("1/0"), _value("-1.5 * 2")
    (Fraction(3, 4), None, None, Fraction(-3, 1))

    Args:
        expression: in Python's notation.
        numbers: gets each number of it, in order.
    """
    if len(expression) > _LONGEST:
        return None
    try:
        return _node_value(ast.parse(expression.strip(), mode="eval").body, numbers)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def _node_value(node: ast.AST, numbers: list[Fraction] | None) -> Fraction:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            value = Fraction(repr(number))
            if numbers is not None:
                numbers.append(value)
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_node_value(operand, numbers)
        case ast.BinOp(
            left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() as operation, right=right
        ):
            one, other = _node_value(left, numbers), _node_value(right, numbers)
            if isinstance(operation, ast.Div):
                return one / other
            if isinstance(operation, ast.Mult):
                return one * other
            return one + other if isinstance(operation, ast.Add) else one - other
    raise ValueError("not arithmetic")


def _makes(answer: str, numbers: list[int], target: int) -> bool:
    used: list[Fraction] = []
    return _value(answer, used) == target and sorted(used) == sorted(numbers)


def _makes_24(answer: str, entry: Entry) -> bool:
    """An expression that is 24, of exactly the numbers given."""
    return _makes(answer, entry["metadata"]["numbers"], 24)


def _makes_the_target(answer: str, entry: Entry) -> bool:
    """An expression that is exactly the target, of exactly the numbers given."""
    return _makes(answer, entry["metadata"]["numbers"], entry["metadata"]["target"])


def _worked_out(answer: str, entry: Entry) -> bool:
    """The exact value to twelve significant digits, or the task's, which rounds on the way."""
    given = _decimals(answer, None)
    value = _value(entry["question"].strip().splitlines()[-1].removesuffix("= ?"))
    wanted = [Decimal(entry["answer"]), *([] if value is None else [_rounded(value, 12)])]
    return given is not None and len(given) == 1 and given[0] in wanted


def _solutions(answer: str, entry: Entry) -> bool:
    """The same numbers, in any order; nothing at all, or two quotes, where there are none."""
    if not entry["answer"]:
        return answer.strip() in ("", '""', "''")
    given, wanted = _decimals(answer, ","), _decimals(entry["answer"], ",")
    return given is not None and wanted is not None and sorted(given) == sorted(wanted)


def _pooled(answer: str, entry: Entry) -> bool:
    """A matrix of the same numbers."""
    given, wanted = (
        [_decimals(line, None) for line in text.strip().splitlines()] for text in (answer, entry["answer"])
    )
    return None not in given and given == wanted


def _simplified(answer: str, entry: Entry) -> bool:
    """a/b or \\frac{a}{b} in lowest terms, and nothing beside it."""
    text = answer.strip().strip("$").strip()
    fraction = _LATEX_FRACTION.fullmatch(text) or _FRACTION.fullmatch(text)
    metadata = entry["metadata"]
    wanted = (metadata["simplified_numerator"], metadata["simplified_denominator"])
    return fraction is not None and tuple(map(int, fraction.groups())) == wanted


def _seconds(text: str) -> Decimal | None:
    """Of days and a time of day: "5 days", "12:27:12.868", "3 days, 06:09"."""
    parts = _DURATION.fullmatch(text.strip())
    if parts is None or not any(parts.groups()):
        return None
    days, hours, minutes, seconds = (Decimal(part or 0) for part in parts.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _same_time(answer: str, entry: Entry) -> bool:
    """The same time; of days alone the number is enough."""
    if entry["metadata"]["task_type"] == "date" and answer.strip().isdecimal():
        answer = f"{answer} days"
    seconds = _seconds(answer)
    return seconds is not None and seconds == _seconds(entry["answer"])


def _roles(text: str) -> list[str] | None:
    """What each person is said to be, in alphabetical order; None if there is anything else in the text."""
    said = [part for part in _BETWEEN.split(text.casefold().strip(" .")) if part]
    return sorted(said) if all(_ROLE.fullmatch(part) for part in said) else None


def _same_roles(answer: str, entry: Entry) -> bool:
    """The same is said of everyone, in any order."""
    said = _roles(answer)
    return said is not None and said == _roles(entry["answer"])


EXACT: dict[str, Callable[[str, Entry], bool]] = {
    "binary_matrix": _same_lines,
    "codeio": _same_json,
    "coin_flip": _probability,
    "countdown": _makes_the_target,
    "decimal_arithmetic": _worked_out,
    "fraction_simplification": _simplified,
    "game_of_life": _same_json,
    "game_of_life_halting": _same_words,
    "gsm_symbolic": _same_number,
    "knights_knaves": _same_roles,
    "letter_jumble": _same_words,
    "n_queens": _one_of_the_boards,
    "number_format": _largest_or_smallest,
    "number_sorting": _sorted_numbers,
    "polynomial_equations": _solutions,
    "pool_matrix": _pooled,
    "puzzle24": _makes_24,
    "spell_backward": _same_words,
    "spiral_matrix": _same_lines,
    "string_insertion": _same_lines,
    "time_intervals": _same_time,
}
"""By task, whether an answer without whitespace around it is right."""
