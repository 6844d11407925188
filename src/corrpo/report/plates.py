"""The figures of fingerprints and comparisons: which data go into which panel."""

import re
from collections.abc import Sequence

from corrpo.measurement.comparison import Comparison
from corrpo.measurement.fingerprint import Fingerprint
from corrpo.report import explanations
from corrpo.report.figures import Drawing, Panel, TypeValue, scatter_figure, types_figure
from corrpo.report.plotting.figure_style import OTHER, TYPE_COLOURS, type_colours
from corrpo.statistics import Correlation

TYPES_FIGURE = "types"
SCATTER_FIGURE = "scatter"
Figures = tuple[Drawing, list[tuple[str, Drawing]]]
"""Figure 2, and (family, figure 1) for each family."""


def measure_figure(fingerprint: Fingerprint) -> Drawing:
    """Figure 1 of one fingerprint, beside its untrained control if there is one."""
    panels = [_panel("trained" if fingerprint.untrained else "", fingerprint, TYPE_COLOURS["base"])]
    if fingerprint.untrained is not None and fingerprint.untrained_tokens is not None:
        panels.append(_panel("untrained", fingerprint, OTHER, untrained=True))
    label = explanations.strength_label(fingerprint.settings)
    return scatter_figure(SCATTER_FIGURE, [panels], strength_label=label, shared=False)


def comparison_figures(comparison: Comparison, fingerprints: Sequence[Fingerprint]) -> Figures:
    """Figures of a comparison.

    Args:
        comparison: the numbers.
        fingerprints: those of `comparison.rows`, in their order.

    Returns:
        Figure 2, and (family, figure 1) for each family.
    """
    estimator = explanations.estimator_label(comparison.measurement)
    label = f"Spearman ρ of token entropy and\ngradient strength ({estimator})"
    values = [
        TypeValue(r.family, r.type, r.sample_set, r.spearman, (r.untrained or {}).get("spearman"), r.folder)
        for r in comparison.rows
    ]
    families = list(dict.fromkeys(row.family for row in comparison.rows))
    names = _file_names(families)
    scatters = [
        (family, _family_scatter(name, family, comparison, fingerprints))
        for family, name in zip(families, names, strict=True)
    ]
    return types_figure(TYPES_FIGURE, values, value_label=label), scatters


def _file_names(families: Sequence[str]) -> list[str]:
    """A distinct file name, without suffix, for each family."""
    names: list[str] = []
    for family in families:
        safe = re.sub(r"[^A-Za-z0-9.]+", "-", family).strip("-.")
        name = f"{SCATTER_FIGURE}-{safe}"[:60] if safe else SCATTER_FIGURE
        names.append(name if name not in names else f"{name}-{len(names) + 1}")
    return names


def _family_scatter(
    name: str, family: str, comparison: Comparison, fingerprints: Sequence[Fingerprint]
) -> Drawing:
    rows = list(zip(comparison.rows, fingerprints, strict=True))
    types = list(dict.fromkeys(row.type for row, _ in rows if row.family == family))
    sets = list(dict.fromkeys(row.sample_set for row, _ in rows if row.family == family))
    colours = type_colours([row.type for row in comparison.rows])
    panels = {
        (row.sample_set, row.type): _panel(row.type, fingerprint, colours[row.type], source=row.folder)
        for row, fingerprint in rows
        if row.family == family
    }
    grid = [[panels.get((sample_set, kind)) for kind in types] for sample_set in sets]
    label = explanations.strength_label(comparison.measurement)
    return scatter_figure(name, grid, strength_label=label, row_titles=[f"samples: {each}" for each in sets])


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
