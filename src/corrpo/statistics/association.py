"""Rank correlation over checkpoints of two measured quantities, such as accuracy and rho.

Spearman's coefficient over T checkpoints, and the same with the step held constant (the partial coefficient
on ranks). Interval: random halves of the samples that one quantity is measured on, the same half for every
checkpoint, and independently of the problems of the other; the standard error over halves, on Fisher's
scale, with a normal quantile (`corrpo.statistics.interval` tells why halves). It carries how precisely both
quantities were measured at these checkpoints, and nothing about other checkpoints or runs: neighbouring
checkpoints are not independent, and two quantities that drift go together whatever their nature. Errors of
measurement pull rank correlations towards 0, and the interval is about the coefficient so weakened.

How often the 95 % interval holds the rank correlation of the true values (300 simulations a cell, 64 samples,
200 problems; signal is the spread of the true values over checkpoints by the standard error of one
measurement), and how much smaller measured coefficients are than true ones:

    checkpoints    signal 1         signal 3         signal 10
         8         79 %  (-0.11)    90 %  (-0.03)    90 %  ( 0.00)
        15         61 %  (-0.19)    82 %  (-0.04)    90 %  ( 0.00)
        30         38 %  (-0.27)    70 %  (-0.06)    87 %  (-0.01)

So it is too narrow, the more so the noisier the measurements: more samples and problems are the remedy.
Moving its centre by the mean of the halves covered less (76 to 82 % for 8 checkpoints), and was not used.
`tests/statistics/coverage_study_association.py` repeats these numbers.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from corrpo.errors import BadInputError
from corrpo.statistics.correlation import partial_of, spearman
from corrpo.statistics.interval import MAX_UNDEFINED
from corrpo.statistics.results import _Record

Array = NDArray[np.float64]
FEWEST = 4
_ALMOST_ONE = 0.999999
"""Checkpoints below which no rank correlation is given."""


@dataclass(frozen=True)
class Association(_Record):
    """A rank correlation over checkpoints.

    Attributes:
        value: in [-1, 1]; None if it does not exist.
        low: lower end of its interval; None if there is none.
        high: upper end.
        n_points: checkpoints that it is over.
        reason: why something above is None, else None.
    """

    value: float | None
    low: float | None
    high: float | None
    n_points: int
    reason: str | None = None


def rank_association(
    x: Array,
    y: Array,
    x_halves: Array,
    y_halves: Array,
    *,
    steps: Array | None = None,
    confidence: float = 0.95,
) -> Association:
    """Spearman's coefficient of two quantities over checkpoints, with the interval of this module.

    Args:
        x: float [T], a quantity at each checkpoint.
        y: float [T], the other.
        x_halves: float [B, T], what halves of the samples give for `x`.
        y_halves: float [B, T], what halves of the problems give for `y`; drawn independently of `x_halves`.
        steps: float [T]; if given, what is reported is the coefficient with the step held constant.
        confidence: of the interval, in (0, 1).

    Returns:
        An `Association`. Its value is None for fewer than `FEWEST` checkpoints or a quantity that does not
        change; there is no interval for a value of -1 or 1, or where over 5 % of the halves have none.

    Raises:
        BadInputError: shapes that do not fit one another.
    """
    count = len(x)
    if y.shape != x.shape or x_halves.shape != y_halves.shape or x_halves.shape[1:] != x.shape:
        raise BadInputError(f"shapes {x.shape}, {y.shape}, {x_halves.shape}, {y_halves.shape} do not fit")
    if count < FEWEST:
        return Association(None, None, None, count, f"{count} checkpoints: expected {FEWEST} or more")
    value = _coefficient(x, y, steps)
    if value is None:
        return Association(None, None, None, count, "one of the two does not change over the checkpoints")
    if abs(value) >= 1 - 1e-12:
        reason = f"the rank correlation is exactly {value:+.0f}: halves cannot show its error"
        return Association(value, None, None, count, reason)
    drawn = [_coefficient(a, b, steps) for a, b in zip(x_halves, y_halves, strict=True)]
    usable = np.array([each for each in drawn if each is not None])
    if len(usable) < 2 or len(drawn) - len(usable) > MAX_UNDEFINED * len(drawn):
        reason = f"in {len(drawn) - len(usable)} of {len(drawn)} halves the rank correlation is undefined"
        return Association(value, None, None, count, reason)
    scores = np.arctanh(np.clip(usable, -_ALMOST_ONE, _ALMOST_ONE))
    half = NormalDist().inv_cdf((1 + confidence) / 2) * float(scores.std())
    centre = math.atanh(value)
    return Association(value, math.tanh(centre - half), math.tanh(centre + half), count)


def _coefficient(x: Array, y: Array, steps: Array | None) -> float | None:
    columns = [x, y] if steps is None else [x, y, steps]
    if any(not np.isfinite(c).all() or (c == c[0]).all() for c in columns):
        return None
    if steps is None:
        return spearman(x, y)
    held = [spearman(x, y), spearman(x, steps), spearman(y, steps)]
    if max(abs(held[1]), abs(held[2])) >= 1 - 1e-12:
        return None
    return float(partial_of(*held))
