"""The page of one fingerprint, report.html of `corrpo measure`."""

from pathlib import Path

from corrpo.jobs.files import write_text
from corrpo.measurement.entropy_strength_figure import MAX_POINTS
from corrpo.measurement.fingerprint import STATISTICS, Fingerprint
from corrpo.report import explanations
from corrpo.report.figures.token_scatter import fingerprint_scatter
from corrpo.report.html_templates import render
from corrpo.report.layer_correlations import layer_table
from corrpo.report.notable_tokens import LISTED, high_entropy_low_gradient, highest_entropy

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


def measure_page(fingerprint: Fingerprint) -> str:
    """The report of one fingerprint as HTML."""
    return render(
        "measure.html",
        fingerprint=fingerprint,
        headline=fingerprint.spearman,
        sign=explanations.sign(fingerprint.spearman),
        reading=explanations.reading(fingerprint.spearman),
        statistics=[(STATISTIC_NAMES[name], name, fingerprint.statistics[name]) for name in STATISTICS],
        few_samples=explanations.few_samples(fingerprint.spearman),
        cut=explanations.cut_note(fingerprint.cut_share, fingerprint.settings),
        subsampling=explanations.subsampling_note(fingerprint),
        estimator=explanations.estimator_label(fingerprint.settings),
        figure=fingerprint_scatter(fingerprint).inline_svg(),
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
