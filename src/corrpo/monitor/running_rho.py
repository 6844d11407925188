"""Spearman's rho over a sliding window of tokens, kept up to date token by token, with an interval.

The rho is exactly that of the window: each new token shifts the mid-ranks of the others by comparisons, which
costs O(window) and no sort. The interval is ours, and an approximation: the tokens of one response follow
one another, so the window counts as

    n_eff = n / (1 + 2 sum_k (1 - k/n) a_k b_k)          with n_eff <= n

tokens, a_k and b_k the autocorrelations of the ranks of entropy and strength at lag k (Bartlett's variance of
a correlation of two series), and the error on Fisher's z scale is sqrt((1 + rho^2 / 2) / (n_eff - 3)) (Bonett
& Wright 2000). It speaks of the process that wrote this window. Intervals over a set of responses resample
whole responses instead: `corrpo.statistics`.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from corrpo.errors import NonFiniteError
from corrpo.monitor.options import FEWEST_TOKENS, check_window
from corrpo.statistics import UndefinedCorrelationError, spearman
from corrpo.statistics.coefficients import ROUNDING, Array


@dataclass(frozen=True)
class Rho:
    """The rho of one window.

    Attributes:
        value: Spearman's rho.
        low: lower end of the interval; None where the window is too short or its tokens too alike.
        high: upper end.
        tokens: how many tokens the window holds.
    """

    value: float
    low: float | None
    high: float | None
    tokens: int


class RunningRho:
    """Spearman's rho of two quantities over the last `window` tokens.

    Args:
        window: tokens held; memory and the time of a token grow with it, not with the length of the text.
        min_tokens: fewer have no rho; 4 or more.
        confidence: of the interval, in (0, 1).

    Raises:
        BadInputError: a setting out of its range.

    >>> running = RunningRho(window=100, min_tokens=5)
    >>> for entropy, strength in [(1, 9), (2, 7), (3, 8), (4, 4), (5, 5), (6, 1)]:
    ...     running.push(entropy, strength)
    >>> running.value
    -0.8857142857142857
    """

    def __init__(self, window: int = 128, min_tokens: int = FEWEST_TOKENS, confidence: float = 0.95):
        check_window(window, min_tokens, confidence)
        self.window, self.min_tokens, self.confidence = window, min_tokens, confidence
        self._values = np.full((2, window), np.nan)
        self._ranks = np.zeros((2, window))
        self._seen = 0

    def __len__(self) -> int:
        return min(self._seen, self.window)

    def push(self, entropy: float, strength: float) -> None:
        """Take one token; the oldest one leaves a full window.

        Raises:
            NonFiniteError: NaN or an infinite value; the window stays as it was.
        """
        if not (math.isfinite(entropy) and math.isfinite(strength)):
            raise NonFiniteError(
                f"token {self._seen}: entropy is {entropy} and strength {strength}; expected finite numbers: "
                "check the weights, and try a wider dtype (float32)"
            )
        slot = self._seen % self.window
        for values, ranks, new in zip(self._values, self._ranks, (entropy, strength), strict=True):
            if self._seen >= self.window:
                old = values[slot]
                np.subtract(ranks, (values > old) + (values == old) / 2, out=ranks)
            values[slot] = math.nan  # equal to nothing, and neither above nor below
            level = values == new
            np.add(ranks, (values > new) + level / 2, out=ranks)
            ranks[slot] = np.count_nonzero(values < new) + (np.count_nonzero(level) + 1) / 2
            values[slot] = new
        self._seen += 1

    @property
    def value(self) -> float | None:
        """Rho of the window, or None: too few tokens, or a constant entropy or strength."""
        n = len(self)
        if n < self.min_tokens:
            return None
        values = self._values[:, :n]
        low, high = values.min(1), values.max(1)
        if (high - low <= ROUNDING * np.maximum(abs(low), abs(high))).any():
            return None
        x, y = self._ranks[:, :n] - n / 2
        return float(np.clip(x @ y / math.sqrt((x @ x) * (y @ y)), -1.0, 1.0))

    @property
    def rho(self) -> Rho | None:
        """Rho of the window with its interval, or None where it has none."""
        value = self.value
        if value is None:
            return None
        n = len(self)
        low, high = series_interval(value, *self._in_order(n), confidence=self.confidence)
        return Rho(value, low, high, n)

    def _in_order(self, n: int) -> tuple[Array, Array]:
        """The ranks, oldest token first."""
        first = self._seen % self.window if self._seen > self.window else 0
        x, y = np.roll(self._ranks[:, :n], -first, axis=1)
        return x, y


def series_interval(
    rho: float, x: Array, y: Array, *, confidence: float = 0.95
) -> tuple[float | None, float | None]:
    """Interval of the rho of two series of ranks, float [n] each, in the order of the text.

    Returns:
        Low and high end; (None, None) where |rho| is 1 or the tokens count as four or fewer.
    """
    n = effective_tokens(x, y)
    if n <= 4 or abs(rho) >= 1 - 1e-12:
        return None, None
    half = float(ndtri((1 + confidence) / 2)) * math.sqrt((1 + rho * rho / 2) / (n - 3))
    return math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)


def effective_tokens(x: Array, y: Array) -> float:
    """How many independent tokens two series of ranks, float [n] each, are worth for their correlation.

    Lags up to 10 log10 n count.
    """
    n = len(x)
    lags = min(n - 1, int(10 * math.log10(n)))
    x, y = x - x.mean(), y - y.mean()
    a = np.array([x[:-k] @ x[k:] for k in range(1, lags + 1)]) / (x @ x)
    b = np.array([y[:-k] @ y[k:] for k in range(1, lags + 1)]) / (y @ y)
    weight = 1 - np.arange(1, lags + 1) / n
    return n / max(1.0, 1.0 + 2.0 * float(weight @ (a * b)))


def response_rho(entropy: Array, strength: Array, min_tokens: int) -> float | None:
    """Spearman's rho over all tokens of a response, or None where it has none."""
    if len(entropy) < min_tokens:
        return None
    try:
        return spearman(entropy, strength)
    except UndefinedCorrelationError:
        return None
