"""Figure 1: token entropy against gradient strength. One fingerprint's tokens on one pair of axes.

The axes show most of the tokens: logarithmic strength, and entropy unfolded near 0 where tokens crowd.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from corrpo.measurement.fingerprint import Fingerprint

MAX_POINTS = 2000
"""Points drawn of a fingerprint; the running median is over all tokens."""
TOKENS_PER_BIN = 25
MAX_BINS = 24
DECADES_FOR_LOG = 1.0
"""Strength is logarithmic if all are above 0 and all but 1 % of the tokens span this many powers of ten."""
SQUASHED = 1 / 3
"""Or if all tokens do, and without 1 % of them they would fill less than this part of a linear axis."""
CROWDED = 0.1
"""Entropy is unfolded if half of the tokens lie below this part of the 99.5 % quantile."""
LINEAR_BELOW = 0.01
"""Bits under which an unfolded entropy axis is linear, so that 0 has a place."""


def entropy_strength_figure(fingerprint: "Fingerprint") -> "Figure":
    """Every measured token of a fingerprint (at most `MAX_POINTS` of them, drawn at random), and the running
    median and quartiles of strength.
    """
    from matplotlib.figure import Figure

    tokens = fingerprint.measured_tokens
    entropy, strength = tokens["entropy_bits"].to_numpy(), tokens["strength"].to_numpy()
    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axes = figure.subplots()
    scale_strength(axes, [strength])
    axes.set_xlabel(scale_entropy(axes, [entropy]))
    axes.set_ylabel(f"gradient strength ({fingerprint.settings.get('norm')} norm)")
    draw_tokens(axes, entropy, strength, points_shown(len(entropy), seed=0), "tab:blue", "black")
    title = f"{fingerprint.model.get('name')} on {fingerprint.samples.get('name')}"
    axes.set_title(f"{title}\n{fingerprint.spearman}", fontsize="small", parse_math=False)
    return figure


def points_shown(n: int, seed: int) -> NDArray[np.int64]:
    """Indices of the tokens that are drawn, ascending: all of n, or `MAX_POINTS` at random."""
    if n <= MAX_POINTS:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, MAX_POINTS, replace=False))


def draw_tokens(
    axes: "Axes",
    entropy: NDArray[np.float64],
    strength: NDArray[np.float64],
    shown: NDArray[np.int64],
    colour: str,
    ink: str,
) -> None:
    """Draw the tokens `shown` as points, and the running median (in `ink`) and quartiles over all of them."""
    axes.scatter(
        entropy[shown],
        strength[shown],
        s=5,
        color=colour,
        alpha=float(np.clip(60 / max(len(shown), 1) ** 0.75, 0.22, 0.6)),
        linewidths=0,
        rasterized=True,
    )
    middle, low, median, high = running_quartiles(entropy, strength)
    if len(middle) > 1:
        axes.fill_between(middle, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(middle, median, color="white", linewidth=2.8, solid_capstyle="round")
        axes.plot(middle, median, color=ink, linewidth=1.3, solid_capstyle="round")


def running_quartiles(
    entropy: NDArray[np.float64], strength: NDArray[np.float64]
) -> tuple[NDArray[np.float64], ...]:
    """Quartiles of strength along entropy, in bins of like numbers of tokens, equal entropies together.

    Returns median entropy, and lower quartile, median and upper quartile of strength: float [bins] each,
    empty for fewer than two bins' worth of tokens.

    >>> running_quartiles(np.arange(100.0), np.arange(100.0))[2].tolist()
    [12.0, 37.0, 62.0, 87.0]
    """
    bins = min(MAX_BINS, len(entropy) // TOKENS_PER_BIN)
    if bins < 2:
        return (np.empty(0),) * 4
    edges = np.unique(np.quantile(entropy, np.linspace(0, 1, bins + 1)[1:-1]))
    index = np.searchsorted(edges, entropy, side="left")
    members = [index == i for i in range(len(edges) + 1)]
    members = [mask for mask in members if mask.sum() >= 5]
    middle = [np.median(entropy[mask]) for mask in members]
    quartiles = [np.quantile(strength[mask], [0.25, 0.5, 0.75]) for mask in members]
    return (np.array(middle), *np.array(quartiles).reshape(-1, 3).T)


def scale_strength(axes: "Axes", values: Sequence[NDArray[np.float64]]) -> None:
    """Set the y axis for float [n] arrays of strength, with some six ticks."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    pooled = _pooled(values)
    if not _is_logarithmic(pooled):
        axes.locator_params(axis="y", nbins=5)
        return
    decades = np.log10(pooled.max() / pooled.min())
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2 else (1.0,), numticks=6))
    axes.yaxis.set_major_formatter(FuncFormatter(power_of_ten))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="y", which="minor", length=1.5, width=0.4)


def _is_logarithmic(strength: NDArray[np.float64]) -> bool:
    if not len(strength) or strength.min() <= 0:
        return False
    least, low, high, most = np.quantile(strength, [0.0, 0.005, 0.995, 1.0])
    wide = 10**DECADES_FOR_LOG
    return bool(high >= wide * low or (most >= wide * least and high - low < SQUASHED * (most - least)))


def scale_entropy(axes: "Axes", values: Sequence[NDArray[np.float64]]) -> str:
    """Set the x axis for float [n] arrays of entropy in bits; returns its label."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    pooled = _pooled(values)
    if not len(pooled) or np.median(pooled) >= CROWDED * np.quantile(pooled, 0.995):
        axes.locator_params(axis="x", nbins=5)
        return "token entropy (bits)"
    axes.set_xscale("symlog", linthresh=LINEAR_BELOW, linscale=0.4)
    axes.set_xlim(-0.002, 1.25 * pooled.max())
    axes.xaxis.set_major_locator(FixedLocator([0.0, 0.01, 0.1, 1.0, 10.0]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(power_of_ten))
    return f"token entropy (bits, logarithmic above {LINEAR_BELOW})"


def _pooled(values: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate([np.empty(0), *values])


def power_of_ten(value: float, _position: int | None = None) -> str:
    """Tick label of a logarithmic axis, as text.

    >>> power_of_ten(1000.0), power_of_ten(0.1), power_of_ten(1e-5)
    ('1,000', '0.1', '10⁻⁵')
    """
    if value == 0 or 1e-3 <= value < 1e4:
        return f"{value:,.10g}"
    exponent = f"{value:e}".split("e")
    power = str(int(exponent[1])).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    factor = float(exponent[0])
    return f"10{power}" if factor == 1 else f"{factor:g}·10{power}"
