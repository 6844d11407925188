"""The three coefficients, with weights: Pearson, Spearman, and Spearman with a third variable held constant.

A weight is a multiplicity: weight 2 stands for the same token twice. A coefficient that does not exist
(fewer than three tokens, a constant variable) is an `UndefinedCorrelationError` that gives the reason, never
0 or NaN.

Spearman's rho is Pearson's r of mid-ranks (Spearman 1904; ties: Kendall 1948). The partial coefficient is
(r_xy - r_xz r_yz) / sqrt((1 - r_xz^2)(1 - r_yz^2)), each r a Spearman rho.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corrpo.errors import BadInputError, CorrpoError

Array = NDArray[np.float64]

Vector = np.ndarray | Sequence[Any]
"""What numpy makes a one-dimensional array of: an array, a list, a tuple."""

ROUNDING = 1e-12
"""A spread below this part of the largest value is rounding, not variation."""


class UndefinedCorrelationError(CorrpoError):
    """The input is well formed but has no correlation; the message is the reason."""


def pearson(x: Vector, y: Vector, weights: Vector | None = None) -> float:
    """Pearson's r of `x` and `y`; `weights` say how often each row counts.

    Undefined for fewer than three rows of positive weight, or a constant `x` or `y`.

    >>> round(pearson([1, 2, 3, 4], [2, 4, 6, 9]), 4)
    0.9944
    """
    columns, w = _checked({"x": x, "y": y}, weights)
    _refuse_undefined(columns, w)
    return _coefficient("pearson", list(columns.values()), w)


def spearman(x: Vector, y: Vector, weights: Vector | None = None) -> float:
    """Spearman's rho of `x` and `y`, with mid-ranks for ties.

    Integer weights give the rho of the data with each row repeated that often. Arguments and errors are
    those of `pearson`.

    >>> spearman([1, 2, 3, 4], [1, 10, 100, 50])
    0.8
    >>> spearman([1, 2, 3], [5, 9, 7], weights=[2, 1, 1]) == spearman([1, 1, 2, 3], [5, 5, 9, 7])
    True
    """
    columns, w = _checked({"x": x, "y": y}, weights)
    _refuse_undefined(columns, w)
    return _coefficient("spearman", list(columns.values()), w)


def partial_spearman(x: Vector, y: Vector, z: Vector, weights: Vector | None = None) -> float:
    """Spearman's rho of `x` and `y` with `z` partialled out of both, linearly in the ranks.

    It equals Pearson's r of the residuals of the mid-ranks of `x` and of `y` on those of `z`. Arguments and
    errors are those of `pearson`; it is also undefined where `z` orders `x` or `y` completely.

    >>> round(partial_spearman([1, 2, 3, 4, 5], [2, 1, 4, 3, 5], [1, 3, 2, 5, 4]), 4)
    0.9784
    """
    columns, w = _checked({"x": x, "y": y, "z": z}, weights)
    _refuse_undefined(columns, w)
    value = _coefficient("partial_spearman", list(columns.values()), w)
    if math.isnan(value):
        raise UndefinedCorrelationError("the ranks of z determine those of x or y")
    return value


def midranks(values: Array, weights: Array | None = None) -> Array:
    """Mid-ranks of float [n], ties sharing theirs: the total weight below plus half the weight level with it.

    For weights of 1 this is the usual 1-based mid-rank less one half. The weighted mean is half the total.

    >>> midranks(np.array([3.0, 1.0, 3.0])).tolist()
    [2.0, 0.5, 2.0]
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    sizes = np.diff(starts, append=len(values))
    if weights is None:
        middles = starts + sizes / 2
    else:
        total = np.concatenate(([0.0], np.cumsum(weights[order])))
        middles = (total[starts] + total[starts + sizes]) / 2
    ranks = np.empty(len(values))
    ranks[order] = np.repeat(middles, sizes)
    return ranks


def _coefficient(method: str, columns: Sequence[Array], weights: Array | None) -> float:
    if method != "pearson":
        columns = [midranks(column, weights) for column in columns]
    return float(partial_of(*(_product_moment(a, b, weights) for a, b in combinations(columns, 2))))


def partial_of(xy: Array | float, xz: Array | float | None = None, yz: Array | float | None = None) -> Array:
    """The partial coefficient of r_xy, r_xz, r_yz, elementwise; r_xy itself without the other two.

    NaN where |r_xz| or |r_yz| is 1.
    """
    if xz is None or yz is None:
        return np.asarray(xy, dtype=np.float64)
    xy, xz, yz = np.asarray(xy), np.asarray(xz), np.asarray(yz)
    rest = (1 - xz * xz) * (1 - yz * yz)
    value = (xy - xz * yz) / np.sqrt(np.where(rest > ROUNDING, rest, np.nan))
    return np.asarray(np.clip(value, -1.0, 1.0))


def clip(value: float) -> float:
    """`value` without the rounding that takes it out of [-1, 1]; NaN stays NaN."""
    return math.copysign(1.0, value) if abs(value) > 1 - 1e-15 else value


def undefined_reason(
    columns: Mapping[str, Array], weights: Array | None = None, unit: str = "tokens"
) -> str | None:
    """Why the named columns float [n] have no correlation, or None if they have one."""
    if weights is not None:
        columns = {name: column[weights > 0] for name, column in columns.items()}
    n = len(next(iter(columns.values())))
    if n < 3:
        return f"a correlation needs at least 3 {unit}, there {'is' if n == 1 else 'are'} {n}"
    for name, column in columns.items():
        low, high = column.min(), column.max()
        if high - low <= ROUNDING * max(abs(low), abs(high)):
            return f"{name} is constant over the {n:,} {unit}"
    return None


def _product_moment(x: Array, y: Array, weights: Array | None) -> float:
    if not len(x):
        return math.nan
    dx = x - np.average(x, weights=weights)
    dy = y - np.average(y, weights=weights)
    wx, wy = (dx, dy) if weights is None else (dx * weights, dy * weights)
    vx, vy = float(wx @ dx), float(wy @ dy)
    if vx <= _rounding_variance(x, weights) or vy <= _rounding_variance(y, weights):
        return math.nan
    return clip(float(wx @ dy) / math.sqrt(vx * vy))


def _rounding_variance(x: Array, weights: Array | None) -> float:
    total = len(x) if weights is None else float(weights.sum())
    return total * (ROUNDING * float(np.abs(x).max())) ** 2


def _refuse_undefined(columns: Mapping[str, Array], weights: Array | None) -> None:
    reason = undefined_reason(columns, weights)
    if reason:
        raise UndefinedCorrelationError(reason)


def _checked(columns: Mapping[str, Vector], weights: Vector | None) -> tuple[dict[str, Array], Array | None]:
    named = dict(columns) if weights is None else {**columns, "weights": weights}
    arrays = {name: finite_vector(name, values) for name, values in named.items()}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        given = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise BadInputError(f"all columns must have the same length, not: {given}")
    w = arrays.pop("weights", None)
    if w is not None and (w < 0).any():
        first = int(np.argmax(w < 0))
        raise BadInputError(f"weights must be 0 or more: weights[{first}] is {w[first]:g}")
    return arrays, w


def finite_vector(name: str, values: Vector) -> Array:
    """`values` as float64 [n].

    Raises:
        BadInputError: not numbers, not one-dimensional, or NaN or infinite (the message says where).
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadInputError(f"{name} must be an array of numbers: {error}") from error
    if array.ndim != 1:
        raise BadInputError(f"{name} must have one dimension, not the shape {array.shape}")
    bad = ~np.isfinite(array)
    if bad.any():
        first = int(np.argmax(bad))
        raise BadInputError(
            f"{name} must be finite: {name}[{first}] is {array[first]} ({bad.sum()} of {len(array)})"
        )
    return array
