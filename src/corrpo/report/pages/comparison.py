"""The page of a comparison, comparison.html of `corrpo compare`, and the parts of it that a report shares."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corrpo.jobs.files import write_json, write_text
from corrpo.measurement.comparison import Comparison
from corrpo.measurement.fingerprint import STATISTICS, Fingerprint
from corrpo.report import explanations
from corrpo.report.figures.figure import PageFigure, Section, draw_figures, write_figures
from corrpo.report.html_templates import render
from corrpo.report.pages.fingerprint import STATISTIC_NAMES
from corrpo.report.results import ComparedFingerprints

STEMS = {"rho_by_model_type": "types", "token_scatter": "scatter"}
"""Names of the figures of a comparison by itself; in a report they have numbers."""
Figures = dict[Section, list[PageFigure]]


def write_comparison(comparison: Comparison, fingerprints: Sequence[Fingerprint], folder: Path) -> list[Path]:
    """Write comparison.json, the figures as SVG and PDF, and comparison.html; returns their paths.

    The fingerprints are those of `comparison.rows`, in their order.
    """
    compared = ComparedFingerprints(comparison, fingerprints)
    figures = _figures(compared)
    write_json(folder / "comparison.json", comparison.as_dict())
    written = write_figures(figures, folder, ("svg", "pdf"))
    write_text(folder / "comparison.html", _page(compared, figures))
    return [folder / "comparison.json", *written, folder / "comparison.html"]


def write_comparison_report(comparison: Comparison, fingerprints: Sequence[Fingerprint], path: Path) -> None:
    """Write the report of a comparison, `comparison.html` of `corrpo compare`; see `write_comparison`."""
    write_text(Path(path), comparison_page(comparison, fingerprints))


def comparison_page(comparison: Comparison, fingerprints: Sequence[Fingerprint]) -> str:
    """The report of a comparison as HTML.

    Raises:
        BadInputError: the fingerprints are not those of the rows.
    """
    compared = ComparedFingerprints(comparison, fingerprints)
    return _page(compared, _figures(compared))


def _figures(compared: ComparedFingerprints) -> Figures:
    return draw_figures(compared, ("types", "tokens"), STEMS)


def _page(compared: ComparedFingerprints, figures: Figures) -> str:
    return render(
        "comparison.html",
        **comparison_context(compared),
        figures=figures,
        title="Entropy and gradient strength over model types",
    )


def comparison_context(compared: ComparedFingerprints) -> dict[str, Any]:
    """What types.html and fingerprints.html, the parts of a page about a comparison, are filled with."""
    comparison, fingerprints = compared.comparison, compared.fingerprints
    settings = comparison.measurement
    common = _common_settings(fingerprints)
    untrained = any(row.untrained for row in comparison.rows)
    return {
        "comparison": comparison,
        "pairs": list(zip(comparison.rows, fingerprints, strict=True)),
        "families": list(dict.fromkeys(row.family for row in comparison.rows)),
        "types_interval_name": explanations.interval_name(common["same"]),
        "common": common,
        "skipped": [
            (row, skip)
            for row, fingerprint in zip(comparison.rows, fingerprints, strict=True)
            for skip in fingerprint.samples.get("skipped") or []
        ],
        "untrained": untrained,
        "estimator": explanations.estimator_label(settings),
        "support": explanations.support_notes(settings, untrained=untrained),
        "subsampling": _subsampled(comparison, fingerprints),
        "undefined": _undefined(comparison),
    }


def _subsampled(comparison: Comparison, fingerprints: Sequence[Fingerprint]) -> list[str]:
    """For each fingerprint of which not all tokens were measured: how many were, and what that costs."""
    sentences = []
    for row, fingerprint in zip(comparison.rows, fingerprints, strict=True):
        if explanations.subsampling_note(fingerprint):
            samples = fingerprint.samples
            error = (samples.get("subsampling") or {}).get("standard_error")
            cost = "" if error is None else f" (standard error {error:.3f})"
            counts = f"{samples['measured_tokens']:,} of {samples['response_tokens']:,}"
            sentences.append(f"{row.label} on {row.sample_set} {counts}{cost}")
    return sentences


def _undefined(comparison: Comparison) -> list[tuple[str, str, str]]:
    """Fingerprint, reason, and the statistics of the headline table that miss a part for that reason."""
    missing: dict[tuple[str, str], list[str]] = {}
    for row in comparison.rows:
        for name in STATISTICS:
            reason = getattr(row, name).reason
            if reason:
                missing.setdefault((f"{row.label} on {row.sample_set}", reason), []).append(
                    STATISTIC_NAMES[name]
                )
    return [(label, reason, "; ".join(names)) for (label, reason), names in missing.items()]


def _common_settings(fingerprints: Sequence[Fingerprint]) -> dict[str, dict[str, Any]]:
    """Settings and versions: those all have in common under "same", the others as a list under "differ"."""
    facts = [
        {**row.settings, **{f"version of {name}": number for name, number in row.versions.items()}}
        for row in fingerprints
    ]
    names = list(dict.fromkeys(name for row in facts for name in row))
    same = {n: facts[0].get(n) for n in names if all(row.get(n) == facts[0].get(n) for row in facts)}
    differ = {n: [row.get(n) for row in facts] for n in names if n not in same}
    return {"same": same, "differ": differ}
