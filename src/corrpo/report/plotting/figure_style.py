"""One look for every figure: colours, markers, type sizes, and names and numbers as its labels show them."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes

from corrpo.errors import visible
from corrpo.report.formatting import shortened

TYPE_COLOURS = {"base": "#004488", "safety": "#DDAA33", "reasoning": "#BB5566"}
"""Blue, yellow, red of Tol's high-contrast scheme: told apart by the colour-blind, and in grey print."""
OTHER_COLOURS = ("#117733", "#66CCEE", "#882255", "#999933", "#AA4499", "#44AA99")
OTHER = "#4D4D4D"
MARKERS = {"base": "o", "safety": "s", "reasoning": "^"}
OTHER_MARKERS = ("D", "v", "P", "X", "<", ">")
INK = "#222222"
MUTED = "#6B6B6B"
RULE = "#BBBBBB"

_STYLE = {
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.labelsize": 7.5,
    "axes.linewidth": 0.6,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "figure.facecolor": "white",
    "axes.facecolor": "none",
    "savefig.facecolor": "white",
    "figure.dpi": 72,
}


@contextmanager
def figure_style(name: str) -> Iterator[None]:
    """The look of the package while a figure called `name` is built and written."""
    style: dict[Any, Any] = {**_STYLE, "svg.hashsalt": f"corrpo {name}"}
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        yield


def type_colours(types: Sequence[str]) -> dict[str, str]:
    """A colour for each model type; base, safety and reasoning always have the same."""
    others = iter(OTHER_COLOURS)
    return {name: TYPE_COLOURS.get(name) or next(others, OTHER) for name in dict.fromkeys(types)}


def type_markers(types: Sequence[str]) -> dict[str, str]:
    """A marker for each model type; base, safety and reasoning always have the same."""
    others = iter(OTHER_MARKERS)
    return {name: MARKERS.get(name) or next(others, "o") for name in dict.fromkeys(types)}


def label(text: str, limit: int = 24) -> str:
    """A name as it can stand in a figure."""
    return visible(shortened(text, limit))


def signed_number(value: float, _position: int | None = None) -> str:
    """Tick label of an axis, with a true minus sign.

    >>> signed_number(-0.2), signed_number(10.0)
    ('−0.2', '10')
    """
    return f"{value:.10g}".replace("-", "−")


def hide(axes: Axes) -> None:
    """Leave a place of a grid empty."""
    axes.set_axis_off()
