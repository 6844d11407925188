"""Axes that show most of the tokens: logarithmic strength, and entropy unfolded near 0 where tokens crowd."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from corrpo.report.plotting.figure_style import power_of_ten

DECADES_FOR_LOG = 1.0
"""Strength is logarithmic if all but 1 % of the tokens span this many powers of ten, and all are above 0."""
CROWDED = 0.1
"""Entropy is unfolded if half of the tokens lie below this part of the 99.5 % quantile."""
LINEAR_BELOW = 0.01
"""Bits under which an unfolded entropy axis is linear, so that 0 has a place."""


def scale_strength(axes: Axes, values: Sequence[NDArray[np.float64]]) -> None:
    """Set the y axis for float [n] arrays of strength, with at most some six ticks."""
    pooled = _pooled(values)
    low, high = np.quantile(pooled, [0.005, 0.995]) if len(pooled) else (0.0, 0.0)
    if len(pooled) and pooled.min() > 0 and np.log10(high / low) >= DECADES_FOR_LOG:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=6))
        axes.yaxis.set_major_formatter(FuncFormatter(power_of_ten))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(axis="y", which="minor", length=1.5, width=0.4)
    else:
        axes.locator_params(axis="y", nbins=5)


def scale_entropy(axes: Axes, values: Sequence[NDArray[np.float64]]) -> str:
    """Set the x axis for float [n] arrays of entropy in bits; returns its label."""
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
