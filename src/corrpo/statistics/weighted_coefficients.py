"""A coefficient as a function of how often each sample counts: what resampling evaluates.

`weighted_statistic(columns)` sorts once and returns f with f(weights float [resamples, samples]) = float
[resamples], the coefficients of the data in which sample s occurs weights[b, s] times, NaN where one does not
exist. What an evaluation costs:

- Pearson by position: from per-sample sums, O(samples).
- Spearman and partial by position: mid-ranks are cumulative weights in presorted order, O(tokens).
- by token: averages from per-(sample, token) sums, and a sort of the unique tokens.
"""

import math
from collections.abc import Callable
from itertools import combinations

import numpy as np
from scipy import sparse

from corrpo.statistics.coefficients import ROUNDING, Array, clip, partial_of
from corrpo.statistics.row_coefficients import row_coefficients, settle
from corrpo.statistics.token_series import Columns

Statistic = Callable[[Array], Array]

BLOCK = 1 << 20
"""Numbers in one block of intermediate results: 8 MB."""


def weighted_statistic(columns: Columns) -> Statistic:
    """The coefficient `columns.method` as a function of float [resamples, samples] multiplicities."""
    if columns.token is not None:
        return _by_token(columns)
    return _from_sums(columns) if columns.method == "pearson" else _from_ranks(columns)


def _from_sums(columns: Columns) -> Statistic:
    x, y = (_centred(column) for column in columns.values.values())
    rows = [np.ones_like(x), x, y, x * x, y * y, x * y]
    sums = np.stack([np.bincount(columns.sample, row) for row in rows], axis=1)

    def statistic(weights: Array) -> Array:
        n, sx, sy, sxx, syy, sxy = (weights @ sums).T
        vx, vy = sxx - sx * sx / n, syy - sy * sy / n
        varies = (vx > ROUNDING * sxx) & (vy > ROUNDING * syy)
        scale = np.sqrt(np.where(varies, vx * vy, np.nan))
        return np.clip((sxy - sx * sy / n) / scale, -1.0, 1.0)

    return statistic


def _centred(column: Array) -> Array:
    """`column` less its mean, divided by its largest value so that squares neither overflow nor vanish."""
    centred = column - column.mean()
    return centred / (np.abs(centred).max() or 1.0)


def _from_ranks(columns: Columns) -> Statistic:
    order = np.argsort(columns.values["entropy"], kind="stable")
    sample = columns.sample[order].astype(np.int32)
    ranked = [_RankedColumn(column[order], sample) for column in columns.values.values()]
    scores = [np.empty(len(sample)) for _ in ranked]
    count, product = np.empty(len(sample)), np.empty(len(sample))

    def coefficient(weights: Array) -> float:
        squares = [column.scores(weights, out) for column, out in zip(ranked, scores, strict=True)]
        if min(squares) <= 0:
            return math.nan
        np.take(weights, sample, out=count, mode="clip")
        correlations = []
        for i, j in combinations(range(len(ranked)), 2):
            np.multiply(scores[i], count, out=product)
            correlations.append(clip(float(product @ scores[j]) / math.sqrt(squares[i] * squares[j])))
        return float(partial_of(*correlations))

    return lambda weights: np.array([coefficient(row) for row in weights])


class _RankedColumn:
    """One variable, sorted once: its centred mid-ranks under any multiplicities of the samples."""

    def __init__(self, values: Array, sample: np.ndarray) -> None:
        order = np.argsort(values, kind="stable")
        ordered = values[order]
        first = np.concatenate(([True], ordered[1:] != ordered[:-1]))
        self.sample = sample[order]
        self.bounds = np.append(np.flatnonzero(first), len(values))
        self.ties = len(self.bounds) <= len(values)
        self.group = np.empty(len(values), dtype=np.int32)
        self.group[order] = np.cumsum(first) - 1
        self._total = np.zeros(len(values) + 1)
        self._weight = np.empty(len(values))

    def scores(self, weights: Array, out: Array) -> float:
        """Write each token's mid-rank less the mean rank to `out`; return the weighted sum of squares."""
        np.take(weights, self.sample, out=self._weight, mode="clip")
        np.cumsum(self._weight, out=self._total[1:])
        edges = self._total[self.bounds] if self.ties else self._total
        middles = edges[1:] + edges[:-1]
        middles -= edges[-1]
        middles *= 0.5
        np.take(middles, self.group, out=out, mode="clip")
        size = np.diff(edges)
        size *= middles
        return float(size @ middles)


def _by_token(columns: Columns) -> Statistic:
    averages = TokenAverages(columns)

    def statistic(weights: Array) -> Array:
        step = max(1, BLOCK // averages.n_tokens)
        blocks = [weights[first : first + step] for first in range(0, len(weights), step)]
        return np.concatenate([row_coefficients(columns.method, averages(block)) for block in blocks])

    return statistic


class TokenAverages:
    """Averages over the occurrences of each unique token, under multiplicities of the samples."""

    def __init__(self, columns: Columns) -> None:
        assert columns.token is not None
        where = (columns.token, columns.sample)
        self.n_tokens = int(columns.token.max()) + 1
        shape = (self.n_tokens, columns.n_samples)
        ones = np.ones(len(columns.sample))
        self._sums = [sparse.csr_array((row, where), shape=shape) for row in (ones, *columns.values.values())]

    def __call__(self, weights: Array) -> list[Array]:
        """One float [resamples, unique tokens] per column, NaN where a token does not occur."""
        count, *sums = (np.ascontiguousarray((matrix @ weights.T).T) for matrix in self._sums)
        count[count == 0] = np.nan
        return [settle(total / count) for total in sums]
