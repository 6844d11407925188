"""`corrpo compare`: fingerprints of model types side by side, as tables, figures and a report."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from corrpo.cli.printing import OptionalOutput, Printed


@dataclass(frozen=True)
class Compare(Printed):
    """Compare fingerprints: `corrpo compare DIR1 DIR2 --output DIR`, or `base=DIR1 sft=DIR2`.

    Prints the correlations with their intervals, and the differences between types on the same samples.
    """

    labels: Annotated[
        Positional[tuple[str, ...]], arg(metavar="[LABEL=]DIR ...", help_behavior_hint="(one or more)")
    ]
    """DIR is a folder that corrpo measure wrote, or a folder of such folders, one per sample set. LABEL is a
    model type such as base, safety or reasoning, or FAMILY/TYPE such as qwen2/base: each family has its own
    panel, and differences are taken within it. It may be given several times; the folder's name stands for
    one that is not given."""
    output: OptionalOutput = None
    """Folder for comparison.json, comparison.html and the figures as SVG and PDF; made if missing. Files of
    an earlier comparison are replaced. Without it, the tables are printed and nothing is written."""
    method: Literal["spearman", "pearson", "partial_spearman"] = "spearman"
    """Coefficient of the differences; partial_spearman holds the position in the response constant."""
    resamples: int = 1000
    """Random halves of the shared samples behind the interval of a difference, a delete-half jackknife with a
    t quantile; 0 for no interval."""
    seed: int = 0
    """Seed of the resampling."""


def run(config: Compare) -> dict[str, Any]:
    """Load, compare, print, and write what was asked for; what comparison.json holds."""
    from corrpo.jobs.console import Console
    from corrpo.jobs.progress_bar import with_progress
    from corrpo.measurement.comparison import compare_fingerprints
    from corrpo.measurement.labelled_fingerprints import load_labelled
    from corrpo.report.pages.comparison import write_comparison
    from corrpo.report.terminal_tables import print_comparison

    console = Console()
    if not console.is_terminal:
        console = Console(width=100)
    labelled = load_labelled(config.labels)
    comparison = compare_fingerprints(
        labelled,
        method=config.method,
        resamples=config.resamples,
        seed=config.seed,
        progress=lambda pairs: with_progress(pairs, "comparing types"),
    )
    print_comparison(comparison, console)
    if config.output is not None:
        paths = write_comparison(comparison, [row.fingerprint for row in labelled], config.output)
        print(*paths, sep="\n")
    return comparison.as_dict()
