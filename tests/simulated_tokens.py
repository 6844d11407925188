"""Simulated token series whose population correlation is known, to judge intervals and tests with.

Entropy and strength of token t in sample s are, on a Gaussian scale and component by component,

    sqrt(icc) * sample effect + sqrt(share) * token effect + sqrt(rest) * AR(1) noise + trend * position

each component a pair (entropy, strength) of its own correlation. Without token effects and trend the
pooled pairs are Gaussian with r = icc * r_between + (1 - icc) * r_within, and so Spearman's rho is
6/pi asin(r/2) (Pearson 1907).
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from corrpo.statistics.coefficients import Array
from corrpo.statistics.token_series import TokenSeries


@dataclass(frozen=True)
class Population:
    """What `simulate` draws from.

    Attributes:
        r_within: correlation of the noise inside a sample, Gaussian scale.
        r_between: correlation of the sample effects, and of the effects of token ids; `r_within` by default.
        icc: part of the variance that lies between samples.
        autocorrelation: of neighbouring tokens' noise.
        trend: slope of both on position (0 at the start, 1 at `2 * mean_length` tokens).
        token_share: part of the variance that belongs to the token id.
        vocabulary: number of token ids, with Zipf frequencies.
        mean_length: mean tokens per sample; lengths are uniform on [1/4, 7/4] of it.
    """

    r_within: float
    r_between: float | None = None
    icc: float = 0.3
    autocorrelation: float = 0.5
    trend: float = 0.0
    token_share: float = 0.0
    vocabulary: int = 200
    mean_length: int = 60

    @property
    def pearson(self) -> float:
        """Pooled Pearson r (no trend, no token effects)."""
        between = self.r_within if self.r_between is None else self.r_between
        return self.icc * between + (1 - self.icc) * self.r_within

    @property
    def spearman(self) -> float:
        """Pooled Spearman rho (no trend, no token effects)."""
        return gaussian_spearman(self.pearson)


def gaussian_spearman(r: float) -> float:
    """Spearman's rho of a bivariate Gaussian with correlation `r`: 6/pi asin(r/2).

    >>> round(gaussian_spearman(0.5), 4)
    0.4826
    """
    return 6 / math.pi * math.asin(r / 2)


def gaussian_pearson(rho: float) -> float:
    """The `r` whose Spearman rho is `rho`: 2 sin(pi rho / 6).

    >>> round(gaussian_pearson(0.4826), 4)
    0.5
    """
    return 2 * math.sin(math.pi * rho / 6)


def simulate(
    population: Population, samples: int, seed: int | np.random.Generator, *, shared: int | None = None
) -> TokenSeries:
    """Draw `samples` responses from `population`.

    Calls with the same `shared` seed have the same sample effects, as two models on the same prompts would.

    >>> series = simulate(Population(r_within=-0.6), samples=3, seed=0)
    >>> sorted(set(series.sample.tolist()))
    [0, 1, 2]
    """
    rng = np.random.default_rng(seed)
    p = population
    between = p.r_within if p.r_between is None else p.r_between
    lengths = rng.integers(
        max(1, p.mean_length // 4), 2 * p.mean_length - p.mean_length // 4 + 1, size=samples
    )
    sample = np.repeat(np.arange(samples), lengths)
    position = np.concatenate([np.arange(length) for length in lengths])
    frequency = 1 / (np.arange(p.vocabulary) + 2.0)
    token = rng.choice(p.vocabulary, size=len(sample), p=frequency / frequency.sum())
    token_effects = _pairs(np.random.default_rng(12345), p.vocabulary, between)
    effects_rng = rng if shared is None else np.random.default_rng(shared)
    sample_effects = _pairs(effects_rng, samples, between)
    rest = max(0.0, 1 - p.icc - p.token_share)
    values = (
        math.sqrt(p.icc) * sample_effects[sample]
        + math.sqrt(p.token_share) * token_effects[token]
        + math.sqrt(rest) * _noise(rng, lengths, p.r_within, p.autocorrelation)
        + p.trend * (position / (2 * p.mean_length))[:, None]
    )
    return TokenSeries(values[:, 0], values[:, 1], sample, position, token)


def _pairs(rng: np.random.Generator, n: int, r: float) -> Array:
    first, second = rng.standard_normal((2, n))
    return np.stack([first, r * first + math.sqrt(1 - r * r) * second], axis=1)


def _noise(rng: np.random.Generator, lengths: np.ndarray, r: float, autocorrelation: float) -> Array:
    parts = []
    for length in lengths.tolist():
        steps = _pairs(rng, length, r)
        steps[1:] *= math.sqrt(1 - autocorrelation**2)
        parts.append(lfilter([1.0], [1.0, -autocorrelation], steps, axis=0))
    return np.concatenate(parts)
