"""Spearman's rho of entropy with the gradient norm of each layer and projection by itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from corrpo.measurement.fingerprint import Fingerprint
from corrpo.measurement.layer_count import layer_count
from corrpo.statistics import spearman
from corrpo.statistics.coefficients import undefined_reason
from corrpo.strength.estimators import measures_last_layer_alone

NEGATIVE, NEUTRAL, POSITIVE = (68, 119, 170), (255, 255, 255), (238, 136, 102)
"""RGB of -1, 0 and 1: blue to orange, told apart by the colour-blind, light enough for dark text."""


@dataclass(frozen=True)
class Cell:
    """One layer and projection: rho, or None with the reason."""

    value: float | None
    reason: str | None

    @property
    def colour(self) -> str:
        """Background, as a CSS colour."""
        return heat_colour(self.value)


@dataclass(frozen=True)
class LayerTable:
    """rho of every layer and projection.

    Attributes:
        projections: column names.
        rows: (layer, cells), one cell per projection.
    """

    projections: list[str]
    rows: list[tuple[int, list[Cell]]]

    @property
    def missing(self) -> dict[str, str]:
        """Each reason for a missing rho, and where it applies, in words."""
        places: dict[str, list[str]] = {}
        for layer, cells in self.rows:
            for name, cell in zip(self.projections, cells, strict=True):
                if cell.reason is not None:
                    places.setdefault(cell.reason, []).append(f"layer {layer} {name}")
        total = len(self.rows) * len(self.projections)
        return {
            reason: "all layers and projections" if len(where) == total else ", ".join(where)
            for reason, where in places.items()
        }


def layer_table(fingerprint: Fingerprint) -> LayerTable | None:
    """Rank correlation of entropy with each norm, over the measured tokens; None if there are no tokens."""
    tokens = fingerprint.measured_tokens
    if not tokens.height:
        return None
    norms = norms_array(tokens["norms"])
    entropy = tokens["entropy_bits"].to_numpy()
    names = list(fingerprint.settings.get("projections") or [])
    if len(names) != norms.shape[2]:
        names = [str(i) for i in range(norms.shape[2])]
    rows = [
        (layer, [_cell(entropy, norms[:, i, j]) for j in range(norms.shape[2])])
        for i, layer in enumerate(layer_numbers(fingerprint.settings, fingerprint.model, norms.shape[1]))
    ]
    return LayerTable(names, rows)


def norms_array(column: pl.Series) -> NDArray[np.float64]:
    """A column of lists per layer of lists per projection as float64 [tokens, layers, projections]."""
    first = column[0]
    shape = (len(column), len(first), len(first[0]))
    return column.explode().explode().to_numpy().astype(np.float64).reshape(shape)


def layer_numbers(settings: Mapping[str, Any], model: Mapping[str, Any], n_layers: int) -> list[int]:
    """The number of each measured layer among those that hold the measured projections, by the records.

    Negative, from the last, as they were asked for where an older version does not tell how many there are.
    """
    layers, count = settings.get("layers"), layer_count(model, settings)
    if layers is not None and len(layers) == n_layers:
        return [int(layer) if count is None else int(layer) % count for layer in layers]
    if measures_last_layer_alone(settings.get("estimator")) and n_layers == 1 and count is not None:
        return [count - 1]
    return list(range(n_layers))


def _cell(entropy: NDArray[np.float64], norm: NDArray[np.float64]) -> Cell:
    reason = undefined_reason({"entropy": entropy, "the norm": norm})
    return Cell(None, reason) if reason else Cell(spearman(entropy, norm), None)


def heat_colour(value: float | None) -> str:
    """Background of a correlation: blue below 0, orange above, none for None.

    >>> heat_colour(0.0), heat_colour(None)
    ('rgb(255 255 255)', 'transparent')
    """
    if value is None:
        return "transparent"
    end = NEGATIVE if value < 0 else POSITIVE
    mixed = (round(n + abs(value) * (e - n)) for n, e in zip(NEUTRAL, end, strict=True))
    return f"rgb({' '.join(map(str, mixed))})"
