"""Permutation test of "entropy and strength are unrelated inside every sample".

The strengths of a sample are shuffled among its tokens; entropy, position, token id and everything that
differs between samples stay. With r_0 the observed coefficient and r_1..r_B those of the shuffled data,

    p = min(1, 2 min(1 + #{b >= 1 : r_b <= r_0}, 1 + #{b >= 1 : r_b >= r_0}) / (B + 1))

twice the smaller tail, as in `scipy.stats.permutation_test`, and never 0 (Phipson & Smyth 2010). The tails
are counted on their own, and |r_b| >= |r_0| is not used, because shuffling inside samples keeps the
correlation *between* samples: where that alone is, say, +0.5, shuffled data scatter around +0.5, and against
|r_b| an association inside the samples that takes the coefficient down to -0.3 would look unremarkable.

For "partial_spearman" by position the residuals of the strength ranks on the position ranks are shuffled
instead (Freedman & Lane 1983), so that a trend of both over positions stays.

Limit: the test takes the tokens of a sample as exchangeable. Where neighbours are alike in both entropy and
strength it rejects too often: unrelated noise of autocorrelation 0, 0.5, 0.8 gave p <= 0.05 in 5.5, 11, 32 %
of 1,000 simulations by position, and in 5.7, 5.3, 7.0 % by token. The interval does not share this.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from scipy import sparse

from corrpo.statistics.coefficients import Array, midranks, partial_of
from corrpo.statistics.row_coefficients import row_coefficients, settle, standardised_rows
from corrpo.statistics.token_series import Columns
from corrpo.statistics.weighted_coefficients import TokenAverages

BLOCK = 1 << 21
"""Numbers in one block of shuffled strengths: 16 MB."""

_TIE = 1e-10
"""Coefficients closer than this are equal but for rounding."""


def permutation_p(columns: Columns, value: float, permutations: int, rng: np.random.Generator) -> float:
    """Two-sided p-value of the coefficient `value` of `columns`, at least 2 / (permutations + 1).

    Memory: about `BLOCK` numbers beside the data.
    """
    gather = _by_position if columns.token is None else _by_token
    shuffled = gather(columns, permutations, rng)
    above = np.count_nonzero(shuffled > value + _TIE)
    below = np.count_nonzero(shuffled < value - _TIE)  # a NaN is in neither: it counts as extreme in both
    smaller = 1 + permutations - max(above, below)
    return min(1.0, 2 * smaller / (permutations + 1))


def cannot_permute(columns: Columns) -> str | None:
    """Why shuffling inside samples changes nothing, or None if it does."""
    strength, same = columns.values["strength"], columns.sample[1:] == columns.sample[:-1]
    if not same.any():
        return "every sample has one token: nothing to permute within samples"
    if not (same & (strength[1:] != strength[:-1])).any():
        return "strength is constant within every sample: nothing to permute"
    return None


def _by_position(columns: Columns, permutations: int, rng: np.random.Generator) -> Array:
    """Shuffling changes only the sums of products with strength: gather those, sample by sample."""
    ranked = columns.method != "pearson"
    scores = {name: midranks(column) if ranked else column for name, column in columns.values.items()}
    unit = {name: standardised_rows(column[None])[0] for name, column in scores.items()}
    strength = unit.pop("strength")
    if columns.method == "partial_spearman":
        strength = strength - (strength @ unit["position"]) * unit["position"]
        strength = strength / np.linalg.norm(strength)
    fixed = np.stack(list(unit.values()), axis=1)
    sums = np.zeros((permutations, fixed.shape[1]))
    starts = columns.starts()
    for begin, end in pairwise(starts):
        step = max(1, BLOCK // (end - begin))
        for first in range(0, permutations, step):
            block = sums[first : first + step]
            block += _shuffles(strength[begin:end], len(block), rng) @ fixed[begin:end]
    if columns.method != "partial_spearman":
        return sums[:, 0]
    return partial_of(sums[:, 0], fixed[:, 0] @ fixed[:, 1], sums[:, 1])


def _by_token(columns: Columns, permutations: int, rng: np.random.Generator) -> Array:
    """Shuffling changes the average strength of every token: entropy and position are ranked once."""
    assert columns.token is not None
    means = TokenAverages(columns)(np.ones((1, columns.n_samples)))
    n = len(columns.sample)
    count = np.bincount(columns.token)
    where = (columns.token, np.arange(n))
    average = sparse.csr_array((1 / count[columns.token], where), shape=(len(count), n))
    step = max(1, BLOCK // n)
    return np.concatenate(
        [
            row_coefficients(columns.method, [means[0], settle((average @ block.T).T), *means[2:]])
            for block in _shuffled_strength(columns, permutations, step, rng)
        ]
    )


def _shuffled_strength(
    columns: Columns, permutations: int, step: int, rng: np.random.Generator
) -> Iterator[Array]:
    """Blocks float [at most step, n] of strength shuffled within samples, `permutations` rows in all."""
    strength, starts = columns.values["strength"], columns.starts()
    for first in range(0, permutations, step):
        rows = np.empty((min(step, permutations - first), len(strength)))
        for begin, end in pairwise(starts):
            rows[:, begin:end] = _shuffles(strength[begin:end], len(rows), rng)
        yield rows


def _shuffles(values: Array, rows: int, rng: np.random.Generator) -> Array:
    block = np.tile(values, (rows, 1))
    return rng.permuted(block, axis=1, out=block)
