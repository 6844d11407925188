"""Figure 1: token entropy against gradient strength, one small panel per fingerprint."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from corrpo.errors import visible
from corrpo.measurement.entropy_strength_figure import (
    MAX_POINTS,
    draw_tokens,
    points_shown,
    scale_entropy,
    scale_strength,
)
from corrpo.measurement.fingerprint import Fingerprint
from corrpo.report.explanations import estimator_label, strength_label
from corrpo.report.figures.figure import Drawn, ReportFigure
from corrpo.report.formatting import count, with_interval
from corrpo.report.html_templates import number_element
from corrpo.report.plotting.drawing import Drawing
from corrpo.report.plotting.figure_style import (
    INK,
    MUTED,
    OTHER,
    TYPE_COLOURS,
    figure_style,
    hide,
    label,
    type_colours,
)
from corrpo.report.results import ComparedFingerprints, Results
from corrpo.statistics import Correlation


@dataclass(frozen=True, eq=False)
class Panel:
    """One panel.

    Attributes:
        title: what was measured.
        entropy: float [n], bits.
        strength: float [n].
        correlation: written in the corner.
        colour: of points and line.
        places: sample and position of each token, a row each; None where they are not known.
        source: the folder of the fingerprint.
    """

    title: str
    entropy: NDArray[np.float64]
    strength: NDArray[np.float64]
    correlation: Correlation
    colour: str
    places: pl.DataFrame | None = None
    source: str = ""


def draw(results: Results | ComparedFingerprints, stem: str) -> Iterator[Drawn]:
    """A drawing for each family: a row of panels for each sample set, a column for each model type."""
    compared = results.compared
    if compared is None:
        return
    rows = compared.comparison.rows
    families = list(dict.fromkeys(row.family for row in rows))
    facts = {
        "estimator": estimator_label(compared.comparison.measurement),
        "max_points": number_element(MAX_POINTS, count),
    }
    for family, name in zip(families, _file_names(stem, families), strict=True):
        yield Drawn(_family_scatter(name, family, compared), facts, heading=family)


FIGURE = ReportFigure(
    stem="figure1",
    section="tokens",
    needs="compared",
    draw=draw,
    shows="Token entropy against gradient strength ({estimator}). One dot per token, at most {max_points} "
    "per\npanel, drawn at random (seed 0); lines are running medians over all measured tokens, bands their "
    "quartiles.",
    source="{name}.svg, from the tokens.parquet of each folder.",
    has_anchor=False,
)


def fingerprint_scatter(fingerprint: Fingerprint) -> Drawing:
    """The figure of one fingerprint, beside its untrained control if there is one."""
    panels = [_panel("trained" if fingerprint.untrained else "", fingerprint, TYPE_COLOURS["base"])]
    if fingerprint.untrained is not None and fingerprint.untrained_tokens is not None:
        panels.append(_panel("untrained", fingerprint, OTHER, untrained=True))
    label_of_strength = strength_label(fingerprint.settings)
    return scatter_figure("scatter", [panels], strength_label=label_of_strength, shared=False)


def scatter_figure(
    name: str,
    grid: Sequence[Sequence[Panel | None]],
    *,
    strength_label: str,
    row_titles: Sequence[str] = (),
    shared: bool = True,
    seed: int = 0,
) -> Drawing:
    """The figure and its points.

    `grid` holds rows of panels, all of one length; None leaves a place empty. Unless `shared`, each panel has
    its own axes. Panels show `MAX_POINTS` points at most, chosen by `seed`.
    """
    rows, columns = len(grid), max(map(len, grid))
    wide = 3.3 if columns == 1 else 2.75
    with figure_style(name):
        figure = Figure(figsize=(wide * columns + 0.35, (wide * 0.72) * rows + 0.35), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.05, h_pad=0.05, wspace=0.03, hspace=0.04)  # pyright: ignore
        axes = figure.subplots(rows, columns, sharex=shared, sharey=shared, squeeze=False)
        _scale(axes, grid, shared)
        for row, panels in zip(axes, grid, strict=True):
            for place, panel in zip(row, panels, strict=True):
                _draw(place, panel, seed) if panel else hide(place)
        if shared:
            _label_outside(axes, grid)
        _name_rows(axes, row_titles)
        figure.supylabel(strength_label, fontsize=7.5, multialignment="center")
        return Drawing(name, figure, _data(grid, row_titles, seed))


def _data(grid: Sequence[Sequence[Panel | None]], row_titles: Sequence[str], seed: int) -> pl.DataFrame:
    """A row per point: row, panel, sample, position, entropy_bits, strength, source."""
    tables = []
    for row, panels in enumerate(grid):
        for panel in filter(None, panels):
            shown = points_shown(len(panel.entropy), seed)
            nowhere = pl.DataFrame(schema={"sample": pl.String, "position": pl.Int32})
            places = nowhere.clear(len(shown)) if panel.places is None else panel.places[shown]
            points = places.with_columns(
                entropy_bits=panel.entropy[shown],
                strength=panel.strength[shown],
                row=pl.lit(visible(row_titles[row]) if row_titles else ""),
                panel=pl.lit(visible(panel.title)),
                source=pl.lit(visible(panel.source)),
            )
            tables.append(points)
    return pl.concat(tables)


def _draw(axes: Axes, panel: Panel, seed: int) -> None:
    shown = points_shown(len(panel.entropy), seed)
    draw_tokens(axes, panel.entropy, panel.strength, shown, panel.colour, INK)
    _head(axes, panel, len(shown))


def _head(axes: Axes, panel: Panel, shown: int) -> None:
    """Above a panel: title on the left, rho and number of tokens on the right."""
    total, rho = len(panel.entropy), with_interval(panel.correlation)
    tokens = f"{count(total)} tokens" if shown == total else f"{count(shown)} of {count(total)} tokens"
    if panel.correlation.value is None:
        rho += " (not defined)"
    lines = (
        (0, 11, label(panel.title, 16), {"ha": "left", "fontsize": 8, "fontweight": "bold"}),
        (1, 11, f"ρ = {rho}", {"ha": "right", "fontsize": 7.5}),
        (1, 3, tokens, {"ha": "right", "fontsize": 6.2, "color": MUTED}),
    )
    for x, above, text, look in lines:
        axes.annotate(text, (x, 1), (0, above), "axes fraction", "offset points", va="bottom", **look)


def _scale(axes: np.ndarray, grid: Sequence[Sequence[Panel | None]], shared: bool) -> None:
    """Scales and their labels: of the figure if shared, else of each panel."""
    everything = [panel for row in grid for panel in row if panel]
    for (i, j), place in np.ndenumerate(axes):
        panels = everything if shared else [panel for panel in (grid[i][j],) if panel]
        scale_strength(place, [panel.strength for panel in panels])
        entropy_label = scale_entropy(place, [panel.entropy for panel in panels])
        if not shared:
            place.set_xlabel(entropy_label)
        elif (i, j) == (0, 0):
            place.figure.supxlabel(entropy_label, fontsize=7.5)


def _label_outside(axes: np.ndarray, grid: Sequence[Sequence[Panel | None]]) -> None:
    """Tick labels at the left of each row and at the foot of each column, past empty places."""
    filled = np.array([[panel is not None for panel in row] for row in grid])
    for (i, j), place in np.ndenumerate(axes):
        place.tick_params(labelleft=not filled[i, :j].any(), labelbottom=not filled[i + 1 :, j].any())


def _name_rows(axes: np.ndarray, titles: Sequence[str]) -> None:
    for place, title in zip(axes[:, -1], titles, strict=False):
        place.annotate(
            label(title, 32),
            (1, 0.5),
            (7, 0),
            "axes fraction",
            "offset points",
            rotation=270,
            va="center",
            ha="left",
            color=MUTED,
        )


def _file_names(stem: str, families: Sequence[str]) -> list[str]:
    """A distinct file name, without suffix, for each family."""
    names: list[str] = []
    for family in families:
        safe = re.sub(r"[^A-Za-z0-9.]+", "-", family).strip("-.")
        name = f"{stem}-{safe}"[:60] if safe else stem
        names.append(name if name not in names else f"{name}-{len(names) + 1}")
    return names


def _family_scatter(name: str, family: str, compared: ComparedFingerprints) -> Drawing:
    rows = compared.comparison.rows
    pairs = [pair for pair in zip(rows, compared.fingerprints, strict=True) if pair[0].family == family]
    types = list(dict.fromkeys(row.type for row, _ in pairs))
    sets = list(dict.fromkeys(row.sample_set for row, _ in pairs))
    colours = type_colours([row.type for row in rows])
    panels = {
        (row.sample_set, row.type): _panel(row.type, fingerprint, colours[row.type], source=row.folder)
        for row, fingerprint in pairs
    }
    return scatter_figure(
        name,
        [[panels.get((sample_set, kind)) for kind in types] for sample_set in sets],
        strength_label=strength_label(compared.comparison.measurement),
        row_titles=[f"samples: {sample_set}" for sample_set in sets],
    )


def _panel(
    title: str, fingerprint: Fingerprint, colour: str, *, untrained: bool = False, source: str = ""
) -> Panel:
    tokens, correlation = fingerprint.measured_tokens, fingerprint.spearman
    if untrained and fingerprint.untrained is not None and fingerprint.untrained_tokens is not None:
        tokens = fingerprint.untrained_tokens.filter(fingerprint.untrained_tokens["strength"].is_not_null())
        correlation: Correlation = fingerprint.untrained["spearman"]
    return Panel(
        title,
        tokens["entropy_bits"].to_numpy(),
        tokens["strength"].to_numpy(),
        correlation,
        colour,
        tokens.select("sample", "position"),
        source,
    )
