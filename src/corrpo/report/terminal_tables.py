"""Tables of a comparison for the terminal, at most 100 columns wide for names of ordinary length."""

from rich import box
from rich.table import Table
from rich.text import Text

from corrpo.errors import visible
from corrpo.jobs.console import Console
from corrpo.measurement.comparison import Comparison
from corrpo.measurement.fingerprint import Fingerprint
from corrpo.report.explanations import BASELINE_NOTE, estimator_label, warnings
from corrpo.report.formatting import count, decimal, p_value, percent, with_interval

_LEGEND = (
    "perm. p: of permutations within samples; pos. held: rho with position held constant; r: Pearson; cut: "
    "responses that ended at max_new_tokens."
)


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print the correlations, the differences, and why any of them is missing."""
    console.print(_correlations(comparison))
    if comparison.differences:
        console.print()
        console.print(_differences(comparison))
    console.print()
    for line in [
        _LEGEND,
        BASELINE_NOTE,
        *_reasons(comparison),
        *(f"Note: {note}" for note in comparison.notes),
    ]:
        console.print(Text(visible(line)), style="dim")


def fingerprint_lines(fingerprint: Fingerprint) -> list[str]:
    """The headline with its control, the other correlations, the baseline, and what a reader must know."""
    rho, untrained, baseline = fingerprint.spearman, fingerprint.untrained, fingerprint.baseline
    rows = [
        ("Spearman", rho),
        ("  untrained", untrained["spearman"] if untrained else None),
        ("position held", fingerprint.position_partial),
        ("by unique token", fingerprint.spearman_by_token),
        ("Pearson", fingerprint.pearson),
        ("baseline", baseline),
    ]
    lines = [f"{name:<18} {correlation}" for name, correlation in rows if correlation]
    if baseline:
        lines[-1] += ": entropy with the logits' gradient, which costs nothing"
    return lines + warnings(rho, fingerprint.settings, fingerprint.cut_share)


def _table(title: str, text_columns: list[str], number_columns: list[str]) -> Table:
    table = Table(
        title=title,
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        title_justify="left",
        title_style="bold",
    )
    for name in text_columns:
        table.add_column(name, overflow="fold")
    for name in number_columns:
        table.add_column(Text(name), justify="right", no_wrap=True)
    return table


def _correlations(comparison: Comparison) -> Table:
    measured = estimator_label(comparison.measurement)
    table = _table(
        f"Entropy and gradient strength ({measured})",
        ["model", "sample\nset"],
        [
            "rho [interval]",
            "perm.\np",
            "pos.\nheld",
            "r",
            "by\ntoken",
            "base-\nline",
            "cut\n%",
            "to-\nkens",
            "n",
        ],
    )
    for i, row in enumerate(comparison.rows):
        if i and row.family != comparison.rows[i - 1].family:
            table.add_section()
        table.add_row(
            Text(visible(row.label)),
            Text(visible(row.sample_set)),
            Text(with_interval(row.spearman)),
            p_value(row.spearman.p),
            decimal(row.position_partial.value),
            decimal(row.pearson.value),
            decimal(row.spearman_by_token.value),
            decimal(row.baseline and row.baseline.value),
            percent(row.cut, 0),
            count(row.n_tokens),
            count(row.n_samples),
        )
    return table


def _differences(comparison: Comparison) -> Table:
    table = _table(
        f"Differences on the same samples ({comparison.paired['method']})",
        ["family", "sample set", "difference"],
        ["value [interval]", "p of t", "n", "left out"],
    )
    for pair in comparison.differences:
        table.add_row(
            Text(visible(pair.family)),
            Text(visible(pair.sample_set)),
            Text(f"{visible(pair.b)} − {visible(pair.a)}"),
            Text(with_interval(pair.difference)),
            p_value(pair.difference.p),
            count(pair.difference.n_samples),
            count(pair.difference.n_dropped),
        )
    return table


def _reasons(comparison: Comparison) -> list[str]:
    of_rows = [
        f"{row.label} on {row.sample_set}: {row.spearman.reason}"
        for row in comparison.rows
        if row.spearman.reason
    ]
    of_pairs = [
        f"{pair.b} − {pair.a} on {pair.sample_set}: {pair.difference.reason}"
        for pair in comparison.differences
        if pair.difference.reason
    ]
    return of_rows + of_pairs
