"""What an answer consists of: lists, sets, tuples, intervals, equations, and single expressions as leaves."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from corrpo.answers.notation import UnreadableAnswerError, latex_signs, one_notation, without_marks
from corrpo.answers.numerals import read_numeral
from corrpo.answers.units import currency_unit, split_unit
from corrpo.answers.words import MARKED, choice_letter, read_words, without_opening

DEEPEST = 12
"""Levels of brackets within each other beyond which nothing is read."""


@dataclass(frozen=True)
class Words:
    """An answer in words, in one spelling."""

    text: str


@dataclass(frozen=True)
class Leaf:
    """One expression, in the one notation; or a number in another base than ten, with its `base`."""

    text: str
    base: str | None = None


@dataclass(frozen=True)
class Collection:
    """Items in no order: a list with commas (`is_bare`), a set, or a union of intervals."""

    items: tuple["Node", ...]
    is_bare: bool = False


@dataclass(frozen=True)
class Ordered:
    """Items in order, in brackets: "()" or "[]"."""

    items: tuple["Node", ...]
    brackets: str


@dataclass(frozen=True)
class Interval:
    """The numbers between two ends; of a variable where it was written as an inequality."""

    low: "Node"
    high: "Node"
    closed: tuple[bool, bool]
    variable: str | None = None


@dataclass(frozen=True)
class Assignment:
    """A name and its value."""

    name: str
    value: "Node"


@dataclass(frozen=True)
class Relation:
    """An equation or inequality of two expressions."""

    sign: str
    left: Leaf
    right: Leaf


@dataclass(frozen=True)
class Chain:
    """Items that are said to be equal, more than two."""

    items: tuple["Node", ...]


Node = Words | Leaf | Collection | Ordered | Interval | Assignment | Relation | Chain


@dataclass(frozen=True)
class Reading:
    """An answer as it is read.

    Attributes:
        node: what it consists of, its unit taken off.
        unit: the unit, if it has one.
        with_unit: what it consists of if the unit is a variable, where it may be one.
    """

    node: Node
    unit: str | None = None
    with_unit: Node | None = None


def parts_of(node: Node) -> Iterator[Words | Leaf]:
    """The words and expressions that a node is made of."""
    match node:
        case Words() | Leaf():
            yield node
            return
        case Collection(items=children) | Ordered(items=children) | Chain(items=children):
            pass
        case Interval():
            children = (node.low, node.high)
        case Relation():
            children = (node.left, node.right)
        case Assignment():
            children = (node.value,)
    for child in children:
        yield from parts_of(child)


_OPEN = {"(": ")", "[": "]", "\\{": "\\}"}
_CLOSE = frozenset(_OPEN.values())
_PIECE = re.compile(r"\\[A-Za-z]+|\\.|.", re.DOTALL)
_BASED = re.compile(r"\(?([0-9A-F]+)\)?_(?:\{(?:\\text\{)?([0-9A-Za-z]+)\}?\}|([0-9]))")
_BASE_WORDS = {"two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8"}
_BASE_WORDS |= {"nine": "9", "ten": "10", "twelve": "12", "sixteen": "16"}
_PROSE = re.compile(r"[A-Za-z]{4}")
_NAMES_IN_BRACES = re.compile(r"\\(?:begin|end|text|operatorname)\{[^{}]*\}|\\[A-Za-z]+")
_OPERATORS = re.compile(r"(\*\*|[$`]|)([-−+*/×÷=<>≤≥^\s]*[-−+*/×÷=<>≤≥^])\1")
_CLOCK = re.compile(r"0?([0-9]{1,2}):([0-5][0-9])(?::([0-5][0-9]))?")
_CURRENCY = re.compile(r"([-−+]?)\s*(\\?\$|€|£|¥)\s*(?=[0-9.])")
_SIGNS = {
    "=": "=",
    "<": "<",
    ">": ">",
    "\\le": "<=",
    "\\ge": ">=",
    "\\ne": "!=",
    "\\in": "in",
    "\\approx": "~",
}
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
_VARIABLE = (
    r"(?:[A-Z]{2,4}|m?\\angle ?[A-Z]{1,3}|\\overline\{[A-Z]{2}\}|\|[A-Z]{2}\||\[[A-Z]{3,5}\]"
    r"|[A-Za-z]|\\(?!infty|pi)[a-z]+ ?|\\text\{[A-Za-z ]+\})(?:_(?:\{[A-Za-z0-9]+\}|[A-Za-z0-9]))?"
)
_CONGRUENCE = re.compile(r"(.+)\\pmod(\{.+\})")
_CONDITION = re.compile(rf"{_VARIABLE}(?:\\in ?\\mathbb\{{R\}})?")
_NAME = re.compile(rf"{_VARIABLE}(?:\^\{{-1\}})?(?:\({_VARIABLE}(?:,{_VARIABLE})*\))?")
_INFINITY = Leaf("\\infty"), Leaf("-\\infty")
_REALS = Interval(_INFINITY[1], _INFINITY[0], (False, False))
_SETS = {"\\mathbb{R}": _REALS, "\\emptyset": Collection(()), "\\{\\}": Collection(())}


def read_answer(text: str) -> Reading:
    r"""The answer that a text is, from tags, a box or a sentence.

    Operators alone are words: their stars and dashes are no marks.

    Raises:
        UnreadableAnswerError: it is neither words nor mathematics, or not in one way alone.

    >>> read_answer("ellipse").node, read_answer("6 cm").unit
    (Words(text='ellipse'), 'centimetre')
    >>> read_answer("x>3").node == read_answer(r"(3,\infty)").node
    False
    >>> read_answer("x=1,000").node
    Assignment(name='x', value=Leaf(text='1000', base=None))
    """
    operators = _OPERATORS.fullmatch(text.strip())
    if operators:
        return Reading(Words("".join(operators[2].replace("−", "-").split())))
    text = without_marks(without_opening(without_marks(text)))
    letter = choice_letter(text)
    if letter is not None:
        return Reading(Leaf(letter))
    words = read_words(text)
    if words is not None:
        return Reading(Words(words))
    text = without_opening(marked[1]) if (marked := MARKED.fullmatch(text)) else text
    currency = _CURRENCY.match(text)
    if currency:
        text = currency[1] + text[currency.end() :]
    number, unit, may_be_variable = split_unit(latex_signs(text))
    unit = currency_unit(currency[2]) if currency and unit is None else unit
    whole = _read_node(_notation(text)) if may_be_variable else None
    return Reading(_read_node(_notation(number)), unit, whole)


def _notation(text: str) -> str:
    notation = one_notation(text)
    if not notation or _PROSE.search(_NAMES_IN_BRACES.sub(" ", notation)):
        raise UnreadableAnswerError("prose")
    return notation


def _split(text: str, separators: frozenset[str]) -> tuple[list[str], list[str]]:
    """The parts of a text between separators outside all brackets, and the separators.

    Raises:
        UnreadableAnswerError: brackets that do not close, or too many within each other.
    """
    parts, found, depth, start, place = [], [], 0, 0, 0
    for piece in _PIECE.findall(text):
        if piece in _OPEN or piece == "{":
            depth += 1
        elif piece in _CLOSE or piece == "}":
            depth -= 1
        elif depth == 0 and piece in separators:
            parts.append(text[start:place].strip())
            found.append(piece)
            start = place + len(piece)
        place += len(piece)
        if not 0 <= depth <= DEEPEST:
            raise UnreadableAnswerError("brackets")
    if depth:
        raise UnreadableAnswerError("brackets")
    return [*parts, text[start:].strip()], found


def _read_node(text: str) -> Node:
    """Raises UnreadableAnswerError, also for parts that are empty."""
    if not text:
        raise UnreadableAnswerError("an empty part")
    items, _ = _split(text, frozenset(",;"))
    if len(items) > 1:
        return Collection(tuple(_read_node(item) for item in items), is_bare=True)
    parts, signs = _split(text, frozenset(_SIGNS))
    if signs:
        return _read_relation(parts, [_SIGNS[sign] for sign in signs])
    sides, _ = _split(text, frozenset({"\\equiv"}))
    if len(sides) == 2 and (congruence := _CONGRUENCE.fullmatch(sides[1])):
        return Ordered((Leaf(sides[0]), *map(_read_node, congruence.groups())), "mod")
    parts, _ = _split(text, frozenset({"\\cup"}))
    if len(parts) > 1:
        return Collection(tuple(_read_node(part) for part in parts))
    parts, _ = _split(text, frozenset({"\\setminus"}))
    if len(parts) == 2:
        return _without_points(_read_node(parts[0]), _read_node(parts[1]))
    return _SETS.get(text) or _read_bracketed(text)


def _read_bracketed(text: str) -> Node:
    """A set, tuple or interval where brackets enclose all of the text; else one expression."""
    pieces = _PIECE.findall(text)
    first, last = pieces[0], pieces[-1]
    if not _is_enclosed(pieces):
        return _read_leaf(text)
    inside = text[len(first) : len(text) - len(last)].strip()
    condition, _ = _split(inside, frozenset("|:"))
    if first == "\\{" and len(condition) == 2 and _CONDITION.fullmatch(condition[0]):
        return _read_node(condition[1])
    items, _ = _split(inside, frozenset(",;"))
    if len(items) == 1 and (first, last) in (("(", ")"), ("{", "}")):
        return _read_leaf(text) if "\\pm" in inside else _read_node(inside)
    nodes = tuple(_read_node(item) for item in items)
    if first in ("\\{", "{"):
        return Collection(nodes)
    if len(nodes) == 2 and "]" in (last, _OPEN[first]):
        return Interval(*nodes, closed=(first == "[", last == "]"))
    if len(nodes) < 2 or _OPEN[first] != last:
        raise UnreadableAnswerError("brackets")
    return Ordered(nodes, first + last)


def _is_enclosed(pieces: list[str]) -> bool:
    """Whether the brackets that open at the start close at the end."""
    depth = 0
    for place, piece in enumerate(pieces):
        depth += (piece in _OPEN or piece == "{") - (piece in _CLOSE or piece == "}")
        if depth == 0:
            return 0 < place == len(pieces) - 1
    return False


def _read_leaf(text: str) -> Node:
    based = _BASED.fullmatch(text)
    if based:
        base = based[2] or based[3]
        return _based(based[1], _BASE_WORDS.get(base, base))
    if text == "\\ldots":
        return Leaf(text, base="list")
    clock = _CLOCK.fullmatch(text)
    if clock:
        return Leaf(":".join(part for part in clock.groups() if part), base="clock")
    if re.search(r"[0-9]_", text):
        raise UnreadableAnswerError("a subscript on a number")
    signs = text.count("\\pm") + text.count("\\mp")
    if signs == 1 and "\\pm" in text:
        return Collection(
            (Leaf(text.replace("\\pm", "+").removeprefix("+")), Leaf(text.replace("\\pm", "-")))
        )
    if signs:
        raise UnreadableAnswerError("several signs of plus or minus")
    return Leaf(text)


def _based(digits: str, base: str) -> Leaf:
    if not base.isdigit() or not 2 <= int(base) <= 36 or any(int(digit, 36) >= int(base) for digit in digits):
        raise UnreadableAnswerError("a subscript that is no base")
    return Leaf(digits.lstrip("0") or "0", base)


def _without_points(whole: Node, points: Node) -> Node:
    """The real numbers without some: the intervals between."""
    items = points.items if isinstance(points, Collection) else ()
    if whole != _REALS or not items:
        raise UnreadableAnswerError("a difference of sets")
    if len(items) == 1:
        return _but(items[0], None)
    numbers = [
        (number, item)
        for item in items
        if isinstance(item, Leaf) and (number := read_numeral(item.text)) and abs(number.exponent) <= 1000
    ]
    if len(numbers) != len(items):
        raise UnreadableAnswerError("a difference of sets of points that are no numbers")
    ordered = sorted(numbers, key=lambda pair: pair[0].value)
    ends = [_INFINITY[1], *(item for _, item in ordered), _INFINITY[0]]
    return Collection(tuple(Interval(*pair, (False, False)) for pair in pairwise(ends)))


def _but(point: Node, variable: str | None) -> Collection:
    high, low = _INFINITY
    below = Interval(low, point, (False, False), variable)
    return Collection((below, Interval(point, high, (False, False), variable)))


def _read_relation(sides: list[str], signs: list[str]) -> Node:
    """An assignment, an interval, or an equation or inequality of two sides."""
    if "~" in signs:
        return _read_exact(sides, signs)
    if not all(sides):
        raise UnreadableAnswerError("a relation without a side")
    named = _read_named(sides, signs)
    if named is not None:
        return named
    if len(signs) == 2 and _NAME.fullmatch(sides[1]) and signs[0][0] == signs[1][0] in ("<", ">"):
        ends = [(sides[0], signs[0].endswith("=")), (sides[2], signs[1].endswith("="))]
        (low, low_closed), (high, high_closed) = ends if signs[0][0] == "<" else ends[::-1]
        return _interval(low, high, (low_closed, high_closed), sides[1])
    if signs == ["="]:
        return Relation("=", Leaf(sides[0]), Leaf(sides[1]))
    if set(signs) == {"="}:
        return Chain(tuple(map(Leaf, sides)))
    if len(signs) > 1 or "in" in signs:
        raise UnreadableAnswerError("a chain of relations")
    return _read_comparison(sides[0], signs[0], sides[1])


def _read_named(sides: list[str], signs: list[str]) -> Node | None:
    """The value of a name or of a tuple of names; None where neither stands before or behind the sign."""
    if set(signs) <= {"=", "in"} and _NAME.fullmatch(sides[0]) and "in" not in signs[1:]:
        values = [side for side in sides[1:-1] if not _NAME.fullmatch(side)] + sides[-1:]
        nodes = tuple(map(_read_node, values))
        return Assignment(sides[0].strip(), nodes[0] if len(nodes) == 1 else Chain(nodes))
    if len(signs) == 1 and signs[0] in ("=", "in") and (names := _names_in_brackets(sides[0])):
        return _with_names(names, _read_node(sides[1])) if signs == ["="] else _read_node(sides[1])
    if signs == ["="] and _NAME.fullmatch(sides[1]):
        return Assignment(sides[1].strip(), _read_node(sides[0]))
    return None


def _names_in_brackets(text: str) -> list[str]:
    """The names that a tuple of names consists of; none for anything else."""
    names = text[1:-1].split(",") if text[0] == "(" and text[-1] == ")" else []
    return names if len(names) > 1 and all(map(_NAME.fullmatch, names)) else []


def _with_names(names: list[str], values: Node) -> Node:
    if not isinstance(values, Ordered) or len(values.items) != len(names):
        raise UnreadableAnswerError("a tuple of names without as many values")
    return Ordered(tuple(map(Assignment, names, values.items)), values.brackets)


def _read_exact(sides: list[str], signs: list[str]) -> Node:
    r"""What stands before \\approx, or after it where that is a name or nothing."""
    cut = signs.index("~")
    if cut == 0 and (not sides[0] or _NAME.fullmatch(sides[0])):
        return _read_relation(sides[1:], signs[1:]) if signs[1:] else _read_node(sides[1])
    return _read_relation(sides[: cut + 1], signs[:cut]) if cut else _read_node(sides[0])


def _read_comparison(left: str, sign: str, right: str) -> Node:
    if sign in _FLIPPED and _NAME.fullmatch(right) and not _NAME.fullmatch(left):
        left, sign, right = right, _FLIPPED[sign], left
    if not _NAME.fullmatch(left):
        return Relation(sign, Leaf(left), Leaf(right))
    if sign == "!=":
        return _but(_read_leaf(right), left.strip())
    if sign.startswith(">"):
        return _interval(right, "\\infty", (sign == ">=", False), left)
    return _interval("-\\infty", right, (False, sign == "<="), left)


def _interval(low: str, high: str, closed: tuple[bool, bool], variable: str) -> Interval:
    return Interval(_read_leaf(low), _read_leaf(high), closed, variable.strip())
