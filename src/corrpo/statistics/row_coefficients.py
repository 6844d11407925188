"""Coefficients of many small data sets at once, one per row."""

from itertools import combinations

import numpy as np

from corrpo.statistics.coefficients import ROUNDING, Array, partial_of


def row_coefficients(method: str, columns: list[Array]) -> Array:
    """The coefficient `method` of each row: float [rows], NaN where it does not exist.

    Columns are x, y, and z for the partial: float [rows, n] each; NaN, in all of them, marks no value.
    """
    if method != "pearson":
        columns = [row_midranks(column) for column in columns]
    unit = [standardised_rows(column) for column in columns]
    pairs = combinations(unit, 2)
    return partial_of(*(np.clip(np.einsum("ij,ij->i", a, b), -1.0, 1.0) for a, b in pairs))


def standardised_rows(rows: Array) -> Array:
    """Each row of float [rows, n] less its mean and divided by its norm; 0 where it is NaN.

    A dot product of two is their correlation. A row that is constant becomes NaN.
    """
    seen = ~np.isnan(rows)
    filled = np.where(seen, rows, 0.0)
    largest = np.abs(filled).max(axis=1, keepdims=True)
    filled /= np.where(largest > 0, largest, 1.0)  # so that squares neither overflow nor vanish
    count = np.maximum(seen.sum(axis=1, keepdims=True), 1)
    centred = np.where(seen, filled - filled.sum(axis=1, keepdims=True) / count, 0.0)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    return centred / np.where(norm > ROUNDING * np.sqrt(count), norm, np.nan)


def row_midranks(rows: Array) -> Array:
    """Mid-ranks from 1 within each row of float [rows, n]; NaN has no rank and stays NaN.

    >>> row_midranks(np.array([[3.0, 1.0, 3.0], [0.0, np.nan, -1.0]])).tolist()
    [[2.5, 1.0, 2.5], [2.0, nan, 1.0]]
    """
    order = np.argsort(rows, axis=1)
    ordered = np.take_along_axis(rows, order, axis=1)
    index = np.arange(rows.shape[1])
    differs = ordered[:, 1:] != ordered[:, :-1]
    if differs.all():
        middle = np.broadcast_to(index + 1.0, rows.shape)
    else:
        start = np.zeros(rows.shape, dtype=np.int64)
        start[:, 1:] = np.where(differs, index[1:], 0)
        end = np.full(rows.shape, rows.shape[1])
        end[:, :-1] = np.where(differs, index[1:], rows.shape[1])
        start = np.maximum.accumulate(start, axis=1)
        end = np.minimum.accumulate(end[:, ::-1], axis=1)[:, ::-1]
        middle = (start + end + 1) / 2
    ranks = np.empty(rows.shape)
    np.put_along_axis(ranks, order, middle, axis=1)
    ranks[np.isnan(rows)] = np.nan
    return ranks


def settle(values: Array) -> Array:
    """`values` rounded to 40 bits, so that averages of equal numbers are equal and ties stay ties.

    >>> float(settle(np.array([(0.1 + 0.1 + 0.1) / 3]))[0]) == float(settle(np.array([0.1]))[0])
    True
    """
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.rint(np.ldexp(mantissa, 40)), exponent - 40)
