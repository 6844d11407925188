"""Expressions compared by sympy, for the process that may be stopped: nothing else may import this.

Two expressions are equal if their difference is 0: for exact rationals as such, for all others at several
points (of their variables) to many digits of relative precision. Decimals stand for the fractions that they
are; one alone may stand for a number that it rounds, by the rule of `numerals.same_number`.
"""

from fractions import Fraction
from functools import lru_cache
from typing import Any

import sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy

from corrpo.answers.equality import MathematicsNeededError, UnevaluatedError, same_leaf_text
from corrpo.answers.numerals import RELATIVE_PRECISION, Numeral, read_numeral
from corrpo.answers.structure import Leaf, Relation, Words

DIGITS = (60, 1000)
"""Decimal digits to which expressions are evaluated: to see that they differ, and before they are equal."""
POINTS = ((37, 14, 101), (-61, -14, 103), (257, -160, 107), (-29, 44, 109))
"""Of each trial the numerator of the first variable, the step to that of the next, and the denominator: no
whole numbers, where expressions meet or have no value, and both signs."""

_MATRIX = sympy.MatrixBase | sympy.MatrixExpr
_CASE = ConversionConfig(lowercase_symbols=False)


@lru_cache(maxsize=200)
def parse_expression(text: str) -> Any:
    """An expression in the one notation as sympy has it, decimals as fractions.

    Raises:
        UnevaluatedError: the parser does not read it, or as a truth or a set.
    """
    try:
        parsed = latex2sympy(
            text, is_real=None, convert_degrees=False, normalization_config=None, conversion_config=_CASE
        )
    except MemoryError:
        raise
    except Exception as error:  # the parser raises bare Exceptions
        raise UnevaluatedError(str(error)[:200]) from error
    if not isinstance(parsed, sympy.Expr | sympy.Set | _MATRIX):
        raise UnevaluatedError("it is no expression")
    floats = parsed.atoms(sympy.Float) if hasattr(parsed, "atoms") else ()
    return parsed.xreplace({number: sympy.Rational(str(number)) for number in floats})


def parse_part(part: Words | Leaf) -> None:
    """Raises UnevaluatedError for a part that is no mathematics."""
    if isinstance(part, Words):
        raise UnevaluatedError("words")
    if part.base is None:
        parse_expression(part.text)


def same_leaf(one: Leaf, other: Leaf) -> bool:
    """Whether two expressions are equal.

    Raises:
        UnevaluatedError: one of them cannot be read.

    >>> same_leaf(Leaf(r"2\\sqrt{2}"), Leaf(r"\\sqrt{8}")), same_leaf(Leaf("x+1"), Leaf("x+2"))
    (True, False)
    """
    try:
        return same_leaf_text(one, other)
    except MathematicsNeededError:
        pass
    ours, theirs = parse_expression(one.text), parse_expression(other.text)
    if isinstance(ours, sympy.Set) or isinstance(theirs, sympy.Set):
        return ours == theirs
    if same_expression(ours, theirs):
        return True
    numbers = read_numeral(one.text), read_numeral(other.text)
    return any(
        number is not None and number.can_round and _rounds(number, expression)
        for number, expression in zip(numbers, (theirs, ours), strict=True)
    )


def same_relation(one: Relation, other: Relation) -> bool:
    """Whether two equations or inequalities say the same: the differences of their sides are proportional.

    >>> line = Relation("=", Leaf("2y"), Leaf("4x+2"))
    >>> same_relation(line, Relation("=", Leaf("y-2x"), Leaf("1")))
    True
    """
    ours, theirs = (_difference(relation) for relation in (one, other))
    if ours == 0 or theirs == 0:
        return False
    if one.sign in ("=", "!=") or other.sign in ("=", "!="):
        if one.sign != other.sign:
            return False
        ratio = sympy.simplify(ours / theirs)
        return bool(ratio.is_number and ratio.is_finite)
    if one.sign[0] != other.sign[0]:
        theirs = -theirs
    ratio = sympy.simplify(ours / theirs)
    return len(one.sign) == len(other.sign) and bool(ratio.is_positive)


def _difference(relation: Relation) -> Any:
    return parse_expression(relation.left.text) - parse_expression(relation.right.text)


def same_expression(one: Any, other: Any) -> bool:
    """Whether two expressions or matrices of sympy are equal."""
    if isinstance(one, sympy.MatrixBase | sympy.MatrixExpr) or isinstance(
        other, sympy.MatrixBase | sympy.MatrixExpr
    ):
        return _same_matrix(one, other)
    if one == other:
        return not one.has(sympy.nan, sympy.zoo)
    one, other = (_evaluated(expression) for expression in (one, other))
    if one.has(sympy.nan, sympy.zoo) or other.has(sympy.nan, sympy.zoo):
        return False
    if one == other or (one.is_Rational and other.is_Rational) or one.is_infinite or other.is_infinite:
        return one == other
    functions = one.atoms(sympy.core.function.AppliedUndef) | other.atoms(sympy.core.function.AppliedUndef)
    named = {call: sympy.Dummy() for call in sorted(functions, key=str)}
    one, other = one.xreplace(named), other.xreplace(named)
    if 0 in (one, other):
        return sympy.simplify(one - other) == 0
    symbols = sorted(one.free_symbols | other.free_symbols, key=str)
    trials = POINTS if symbols else POINTS[:1]
    return all(_same_at(one, other, _point(symbols, *start)) for start in trials)


def _evaluated(expression: Any) -> Any:
    """With sums, integrals and powers worked out."""
    return expression.doit()


def _point(symbols: list[Any], top: int, step: int, bottom: int) -> dict[Any, Any]:
    return {symbol: sympy.Rational(top + step * place, bottom) for place, symbol in enumerate(symbols)}


def _same_at(one: Any, other: Any, point: dict[Any, Any]) -> bool:
    first, second = one.subs(point), other.subs(point)
    difference: Any = sympy.expand(first - second)
    if difference.is_Rational:
        return difference == 0
    return all(_agree(first, second, digits) for digits in DIGITS)


def _agree(one: Any, other: Any, digits: int) -> bool:
    """Whether two constants agree to two thirds of the digits to which they are evaluated."""
    ours, theirs = (value.evalf(digits) for value in (one, other))
    if not (ours.is_number and theirs.is_number and ours.is_finite and theirs.is_finite):
        raise UnevaluatedError("it has no value")
    return bool(abs(ours - theirs) <= sympy.Float(10) ** (-digits * 2 // 3) * max(abs(ours), abs(theirs)))


def _same_matrix(one: Any, other: Any) -> bool:
    ours, theirs = (matrix.doit() if hasattr(matrix, "doit") else matrix for matrix in (one, other))
    if not (isinstance(ours, sympy.MatrixBase) and isinstance(theirs, sympy.MatrixBase)):
        return ours == theirs
    return ours.shape == theirs.shape and all(map(same_expression, ours.flat(), theirs.flat()))


def _rounds(decimal: Numeral, expression: Any) -> bool:
    """Whether a decimal stands for the value of an expression without variables."""
    if not isinstance(expression, sympy.Expr) or expression.free_symbols:
        return False
    value = expression.evalf(DIGITS[0])
    if not value.is_Float or not value.is_finite or abs(decimal.exponent) > 1000:
        return False
    exact = Fraction(str(sympy.Rational(str(value))))
    distance = abs(exact - decimal.value)
    return distance < Fraction(10) ** decimal.exponent and distance <= RELATIVE_PRECISION * abs(exact)
