"""Rank correlation over checkpoints of two measured quantities, such as accuracy and rho.

The coefficient is Spearman's over T checkpoints, or the same with the step held constant (the partial
coefficient on ranks). It is given as measured. Errors of measurement pull it towards 0 (Spearman 1904), so
the interval reaches from what was measured to what would have been measured without error:

- Standard error: both quantities are measured again on random halves, the same half of the samples for every
  checkpoint and independently a half of the problems; it is the standard deviation of the coefficient over
  halves, on Fisher's scale (`corrpo.statistics.interval` tells why halves).
- Attenuation: the reliability of a quantity is 1 less the variance over checkpoints that its errors make, by
  the variance over checkpoints that was measured (with the step held constant, both about a line in the
  step); the attenuation is the root of the product of both reliabilities, 0 at the least.
- Interval: value -+ normal quantile * standard error on Fisher's scale, and whichever end is farther out of
  each end and that end divided by the attenuation, cut off at -1 and 1. Where errors account for all that
  varies, a coefficient that is clearly not 0 may thus be as far as -1 or 1.
- On Fisher's scale -1 and 1 are infinite: there a coefficient counts as at most half of the way from the
  largest below 1 that T ranks without ties can have, 1 - 12 / (T^3 - T), to 1.

The interval carries how precisely both were measured at these checkpoints, and nothing about other
checkpoints or runs: neighbouring checkpoints are not independent, and two quantities that drift go together
whatever their nature.

How often the 95 % interval holds the rank correlation of the true values, in brackets without the
attenuation, and how much smaller measured coefficients are than true ones (1,000 simulations a cell, 64
samples, 200 problems, 200 halves; signal is the spread of the true values over checkpoints by the standard
error of one measurement; one simulation error is about 1 %):

    checkpoints   signal 1              signal 3              signal 10
    two independent random walks
         8        95 % (77 %) -0.12     94 % (89 %) -0.03     90 % (90 %) 0.00
        15        94 % (60 %) -0.19     93 % (83 %) -0.04     91 % (89 %) -0.01
        30        96 % (42 %) -0.25     94 % (76 %) -0.05     94 % (90 %) 0.00
    the same with the step held constant
         8        95 % (85 %) -0.01     94 % (89 %) 0.00      93 % (92 %) 0.00
        15        94 % (76 %) -0.04     93 % (86 %) -0.01     90 % (88 %) -0.01
        30        95 % (71 %) -0.06     93 % (82 %) -0.02     92 % (90 %) -0.01
    two related ones
         8        97 % (57 %) -0.31     94 % (82 %) -0.05     91 % (89 %) 0.00
        15        97 % (33 %) -0.36     94 % (70 %) -0.07     90 % (87 %) -0.01
        30        97 % (14 %) -0.38     94 % (53 %) -0.08     93 % (83 %) -0.01
    the same with the step held constant
         8        97 % (62 %) -0.26     94 % (82 %) -0.07     93 % (91 %) 0.00
        15        96 % (35 %) -0.35     95 % (65 %) -0.13     92 % (86 %) -0.02
        30        96 % (18 %) -0.40     95 % (44 %) -0.16     92 % (83 %) -0.03

Noisy measurements thus give wide intervals: their mean width at signal 1 is 0.9 to 1.8 of the 2 there are.
Centres moved by the mean of the halves, and percentiles of the halves, covered less (down to 12 and 2 % in a
pilot of 400 simulations a cell) and were not used. `tests/statistics/coverage_study_association.py` repeats
these numbers.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from corrpo.errors import BadInputError
from corrpo.statistics.coefficients import Array, clip
from corrpo.statistics.correlation_records import Record, counted, sentence
from corrpo.statistics.interval import MAX_UNDEFINED
from corrpo.statistics.row_coefficients import row_coefficients, settle

FEWEST = 4
"""Checkpoints below which no rank correlation is given."""


@dataclass(frozen=True)
class Association(Record):
    """A rank correlation over checkpoints.

    Attributes:
        value: as measured, in [-1, 1]; None if it does not exist.
        low: lower end of its interval; None if there is none.
        high: upper end.
        n_points: checkpoints that it is over.
        reason: why something above is None, else None.
        attenuation: by what factor errors of measurement are estimated to have shrunk the value, in [0, 1];
            None if there is no interval.

    >>> print(Association(-0.62, -0.9, -0.31, 15, None, 0.93))
    -0.62 [-0.90, -0.31] (15 checkpoints)
    """

    value: float | None
    low: float | None
    high: float | None
    n_points: int
    reason: str | None = None
    attenuation: float | None = None

    def __str__(self) -> str:
        checkpoints = counted(self.n_points, "checkpoint")
        return sentence(self.value, self.low, self.high, checkpoints, self.reason)


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
        x_halves: float [B, T], what halves of the samples give for `x`, as far from `x` as all samples are
            from the truth: (half - x) times the root of samples in the half by samples left out, 1 for
            an even number; NaN where there is nothing.
        y_halves: float [B, T], the same of the problems for `y`; drawn independently of `x_halves`.
        steps: float [T]; if given, what is reported is the coefficient with the step held constant.
        confidence: of the interval, in (0, 1).

    Returns:
        An `Association`. Its value is None for fewer than `FEWEST` checkpoints or a quantity that does not
        change; there is no interval for fewer than two halves, or where over 5 % of them have no coefficient.

    Raises:
        BadInputError: shapes that do not fit one another, values that are not finite, a confidence outside
            (0, 1).

    >>> rng = np.random.default_rng(0)
    >>> x, y = np.arange(6.0), np.array([0.1, 0.3, 0.2, 0.5, 0.4, 0.6])
    >>> halves = x + rng.normal(0, 0.3, (200, 6)), y + rng.normal(0, 0.03, (200, 6))
    >>> print(rank_association(x, y, *halves))
    0.89 [0.82, 0.95] (6 checkpoints)
    """
    _check(x, y, x_halves, y_halves, steps, confidence)
    count = len(x)
    if count < FEWEST:
        reason = f"{counted(count, 'checkpoint')}: expected {FEWEST} or more"
        return Association(None, None, None, count, reason)
    value = clip(float(_coefficients(x[None], y[None], steps)[0]))
    if math.isnan(value):
        return Association(None, None, None, count, _undefined_reason(x, y))
    drawn = _coefficients(x_halves, y_halves, steps)
    reason = _no_interval_reason(drawn)
    if reason is not None:
        return Association(value, None, None, count, reason)
    attenuation = math.sqrt(_reliability(x, x_halves, steps) * _reliability(y, y_halves, steps))
    low, high = _interval(value, drawn[np.isfinite(drawn)], count, attenuation, confidence)
    return Association(value, low, high, count, attenuation=attenuation)


def _no_interval_reason(drawn: Array) -> str | None:
    """Why float [B] coefficients of halves are no basis for an interval, or None if they are."""
    if not len(drawn):
        return "no halves were asked for"
    missing = int(np.count_nonzero(~np.isfinite(drawn)))
    if len(drawn) - missing < 2 or missing > MAX_UNDEFINED * len(drawn):
        return f"in {missing:,} of {len(drawn):,} halves the rank correlation is undefined"
    return None


def _interval(
    value: float, drawn: Array, count: int, attenuation: float, confidence: float
) -> tuple[float, float]:
    """Both ends, from the finite coefficients of halves."""
    most = 1 - 6 / (count**3 - count)
    centre, *scores = np.arctanh(np.clip([value, *drawn], -most, most))
    half = NormalDist().inv_cdf((1 + confidence) / 2) * float(np.std(scores))
    low, high = math.tanh(centre - half), math.tanh(centre + half)
    return (
        min(low, _without_error(low, attenuation), value),
        max(high, _without_error(high, attenuation), value),
    )


def _check(
    x: Array, y: Array, x_halves: Array, y_halves: Array, steps: Array | None, confidence: float
) -> None:
    fit = x_halves.ndim == 2 and y.shape == x.shape == x_halves.shape[1:] and y_halves.shape == x_halves.shape
    if x.ndim != 1 or not fit or (steps is not None and steps.shape != x.shape):
        given = [x.shape, y.shape, x_halves.shape, y_halves.shape] + ([] if steps is None else [steps.shape])
        raise BadInputError(
            f"shapes {', '.join(map(str, given))} of x, y, their halves and steps do not fit: expected [T], "
            "[T], [B, T], [B, T] and [T]"
        )
    for name, values in (("x", x), ("y", y), ("steps", steps)):
        if values is not None and not np.isfinite(values).all():
            raise BadInputError(f"{name} has values that are not finite: leave those checkpoints out")
    if not 0 < confidence < 1:
        raise BadInputError(f"confidence={confidence}: expected a number between 0 and 1")


def _coefficients(x: Array, y: Array, steps: Array | None) -> Array:
    """The coefficient of each row of float [B, T]; NaN where it does not exist."""
    columns = [settle(x), settle(y)]
    complete = np.isfinite(columns[0]).all(axis=1) & np.isfinite(columns[1]).all(axis=1)
    if steps is not None:
        columns.append(np.broadcast_to(steps, x.shape).astype(np.float64))
    coefficients = row_coefficients("spearman" if steps is None else "partial_spearman", columns)
    return np.where(complete, coefficients, np.nan)


def _undefined_reason(x: Array, y: Array) -> str:
    if any(len(np.unique(settle(values))) == 1 for values in (x, y)):
        return "one of the two quantities is the same at all checkpoints"
    return "the step orders one of the two quantities completely: nothing is left to correlate"


def _reliability(values: Array, halves: Array, steps: Array | None) -> float:
    """The part of the variance of float [T] over checkpoints that is not error, in [0, 1].

    `halves`, float [B, T], less `values` vary as much as the errors of `values`; what an error adds to all
    checkpoints alike changes no rank and does not count.
    """
    errors = _about_trend(halves[np.isfinite(halves).all(axis=1)] - values, steps)
    spread = _about_trend(values[None], steps)
    return max(0.0, 1 - float((errors**2).sum(axis=1).mean()) / float((spread**2).sum()))


def _about_trend(rows: Array, steps: Array | None) -> Array:
    """float [B, T] less each row's mean, or less its least-squares line in the steps."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    if steps is None:
        return centred
    direction = (steps - steps.mean()) / np.linalg.norm(steps - steps.mean())
    return centred - (centred @ direction)[:, None] * direction


def _without_error(value: float, attenuation: float) -> float:
    """`value` divided by the attenuation, cut off at -1 and 1."""
    return math.copysign(min(1.0, abs(value) / attenuation) if attenuation > 0 else 1.0, value)
