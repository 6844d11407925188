"""The two HTML reports: one file each, with nothing fetched and nothing run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from corrpo.errors import BadInputError
from corrpo.jobs.files import write_text
from corrpo.measurement.comparison import Comparison
from corrpo.measurement.entropy_strength_figure import MAX_POINTS
from corrpo.measurement.fingerprint import STATISTICS, Fingerprint
from corrpo.report import explanations
from corrpo.report.layer_correlations import layer_table
from corrpo.report.notable_tokens import LISTED, high_entropy_low_gradient, highest_entropy
from corrpo.report.pages.render import render
from corrpo.report.plates import Figures, comparison_figures, measure_figure
from corrpo.report.plotting.figure_style import inline

STATISTIC_NAMES = {
    "spearman": "Spearman ρ, by position",
    "pearson": "Pearson r, by position",
    "spearman_by_token": "Spearman ρ, by unique token",
    "pearson_by_token": "Pearson r, by unique token",
    "position_partial": "Spearman ρ, position held constant",
}


def write_measure_report(fingerprint: Fingerprint, path: Path) -> None:
    """Write the report of one fingerprint, `report.html` of `corrpo measure`.

    Raises:
        OutputFolderError: the disk is full or the folder cannot be written to.
    """
    write_text(Path(path), measure_page(fingerprint))


def write_comparison_report(
    comparison: Comparison,
    fingerprints: Sequence[Fingerprint],
    path: Path,
    figures: Figures | None = None,
) -> None:
    """Write the report of a comparison, `comparison.html` of `corrpo compare`.

    Args:
        comparison: the numbers.
        fingerprints: those of `comparison.rows`, in their order.
        path: of the HTML file.
        figures: what `comparison_figures` made of them, if it was called before.

    Raises:
        BadInputError: the fingerprints are not those of the rows.
        OutputFolderError: the disk is full or the folder cannot be written to.
    """
    write_text(Path(path), comparison_page(comparison, fingerprints, figures))


def measure_page(fingerprint: Fingerprint) -> str:
    """The report of one fingerprint as HTML."""
    return render(
        "measure.html",
        fingerprint=fingerprint,
        headline=fingerprint.spearman,
        sign=explanations.sign(fingerprint.spearman),
        statistics=[(STATISTIC_NAMES[name], name, fingerprint.statistics[name]) for name in STATISTICS],
        few_samples=explanations.few_samples(fingerprint.spearman),
        subsampling=explanations.subsampling_note(fingerprint),
        estimator=explanations.estimator_label(fingerprint.settings),
        figure=Markup(inline(measure_figure(fingerprint).svg())),
        layers=layer_table(fingerprint),
        interval_name=explanations.interval_name(fingerprint.settings),
        lists=[
            ("Highest entropy", "the highest first", highest_entropy(fingerprint)),
            (
                "High entropy, low gradient",
                "the lowest strength first, among the tenth of the tokens with the highest entropy",
                high_entropy_low_gradient(fingerprint),
            ),
        ],
        support=explanations.support_notes(fingerprint.settings, untrained=fingerprint.untrained is not None),
        max_points=MAX_POINTS,
        listed=LISTED,
        title=f"Entropy and gradient strength: {fingerprint.model.get('name')}",
    )


def comparison_page(
    comparison: Comparison, fingerprints: Sequence[Fingerprint], figures: Figures | None = None
) -> str:
    """The report of a comparison as HTML.

    Raises:
        BadInputError: the fingerprints are not those of the rows.
    """
    drawn = figures or comparison_figures(comparison, fingerprints)
    context = comparison_context(comparison, fingerprints, drawn)
    return render("comparison.html", **context, title="Entropy and gradient strength over model types")


def comparison_context(
    comparison: Comparison, fingerprints: Sequence[Fingerprint], figures: Figures
) -> dict[str, Any]:
    """What types.html and fingerprints.html, the parts of a page about a comparison, are filled with.

    Raises:
        BadInputError: the fingerprints are not those of the rows.
    """
    _check_same(comparison, fingerprints)
    settings = comparison.measurement
    types, scatters = figures
    common = _common_settings(fingerprints)
    untrained = any(row.untrained for row in comparison.rows)
    return {
        "comparison": comparison,
        "pairs": list(zip(comparison.rows, fingerprints, strict=True)),
        "families": list(dict.fromkeys(row.family for row in comparison.rows)),
        "interval_name": explanations.interval_name(common["same"]),
        "common": common,
        "skipped": [
            (row, skip)
            for row, fingerprint in zip(comparison.rows, fingerprints, strict=True)
            for skip in fingerprint.samples.get("skipped") or []
        ],
        "untrained": untrained,
        "estimator": explanations.estimator_label(settings),
        "types": (types.name, Markup(inline(types.svg()))),
        "scatters": [(family, each.name, Markup(inline(each.svg()))) for family, each in scatters],
        "support": explanations.support_notes(settings, untrained=untrained),
        "subsampling": _subsampled(comparison, fingerprints),
        "undefined": _undefined(comparison),
        "max_points": MAX_POINTS,
    }


def _check_same(comparison: Comparison, fingerprints: Sequence[Fingerprint]) -> None:
    def told(name: Any, correlation: Any) -> tuple[str, Any]:
        return str(name), correlation

    of_rows = [told(row.sample_set, row.spearman) for row in comparison.rows]
    given = [told(each.samples["name"], each.spearman) for each in fingerprints]
    if of_rows != given:
        raise BadInputError(
            f"these {len(given)} fingerprints are not those of the comparison's {len(of_rows)} rows, in order"
        )


def _subsampled(comparison: Comparison, fingerprints: Sequence[Fingerprint]) -> list[str]:
    """For each fingerprint of which not all tokens were measured: how many were, and what that costs."""
    found = []
    for row, fingerprint in zip(comparison.rows, fingerprints, strict=True):
        if explanations.subsampling_note(fingerprint):
            samples = fingerprint.samples
            error = (samples.get("subsampling") or {}).get("standard_error")
            cost = "" if error is None else f" (standard error {error:.3f})"
            counts = f"{samples['measured_tokens']:,} of {samples['response_tokens']:,}"
            found.append(f"{row.label} on {row.sample_set} {counts}{cost}")
    return found


def _undefined(comparison: Comparison) -> list[tuple[str, str, str]]:
    """Fingerprint, reason, and the statistics of the headline table that miss a part for that reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in comparison.rows:
        for name in STATISTICS:
            reason = getattr(row, name).reason
            if reason:
                found.setdefault((f"{row.label} on {row.sample_set}", reason), []).append(
                    STATISTIC_NAMES[name]
                )
    return [(label, reason, "; ".join(names)) for (label, reason), names in found.items()]


def _common_settings(fingerprints: Sequence[Fingerprint]) -> dict[str, dict[str, Any]]:
    """Settings and versions: those all have in common under "same", the others as a list under "differ"."""
    facts = [
        {**each.settings, **{f"version of {k}": v for k, v in each.versions.items()}} for each in fingerprints
    ]
    names = list(dict.fromkeys(name for each in facts for name in each))
    same = {n: facts[0].get(n) for n in names if all(each.get(n) == facts[0].get(n) for each in facts)}
    differ = {n: [each.get(n) for each in facts] for n in names if n not in same}
    return {"same": same, "differ": differ}
