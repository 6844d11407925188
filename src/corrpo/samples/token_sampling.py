"""Which tokens of a response are chosen where not all are measured: at random, stratified by position."""

import numpy as np
from numpy.typing import NDArray


def stratified_positions(n: int, most: int | None, seed: int, name: str) -> NDArray[np.int64]:
    """At most `most` of the positions 0..n-1, ascending: one drawn from each of `most` equal stretches.

    The stretches begin at a random position and go round the end, so that every position is as likely to be
    drawn as any other. Decided by `seed` and `name` (of the response) alone, so that another model is
    measured at the same places.

    >>> stratified_positions(3, None, 0, "a").tolist()
    [0, 1, 2]
    >>> len(stratified_positions(100, 10, 0, "a"))
    10
    """
    if most is None or n <= most:
        return np.arange(n)
    rng = np.random.default_rng([seed, *name.encode()])
    edges = np.arange(most + 1) * n // most
    return np.sort((rng.integers(edges[:-1], edges[1:]) + rng.integers(n)) % n)
