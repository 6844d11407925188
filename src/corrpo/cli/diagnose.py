"""`corrpo diagnose FAMILY/REGIME=DIR ... --output DIR`: one table over families and training regimes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from corrpo.cli.printing import Output, Printed


@dataclass(frozen=True, kw_only=True)
class Diagnose(Printed):
    """Set models of several training regimes and families side by side, in one table with intervals.

    corrpo diagnose qwen2/base=out/measured/base qwen2/sft=out/measured/sft --evaluated out/evaluated \\
        --output out/diagnosis

    Writes OUTPUT/diagnosis.parquet, .csv and .md (the table), .json (settings and all differences), .svg
    and .pdf.
    """

    labels: Annotated[
        Positional[tuple[str, ...]], arg(metavar="FAMILY/REGIME=DIR ...", help_behavior_hint="(one or more)")
    ]
    """DIR is a folder that corrpo measure wrote, or a folder of such folders. Families may have been measured
    in other projections, and are not compared with one another."""
    output: Output
    """Folder of the table; made if missing. Files of an earlier diagnosis are replaced."""
    evaluated: tuple[Path, ...] = ()
    """Folders that corrpo evaluate wrote: gives pass@1 of the models whose weights are the same."""
    against: tuple[str, ...] = ("base",)
    """Regimes that changes are taken from, on the same samples and within a family."""
    page: Path | None = None
    """A Markdown page in which the table between the lines <!-- diagnosis --> and <!-- end of diagnosis -->
    is renewed."""
    method: Literal["spearman", "pearson", "partial_spearman"] = "spearman"
    """Coefficient of the changes."""
    resamples: int = 1000
    """Random halves of the shared samples behind the interval of a change, a delete-half jackknife with a
    t quantile; 0 for no interval."""
    seed: int = 0
    """Seed of the resampling."""


def run(options: Diagnose) -> dict[str, Any]:
    """Load, write, and print the table; its rows, and what diagnosis.json holds."""
    from corrpo.evaluation.results import load_evaluations
    from corrpo.measurement.labelled_fingerprints import load_labelled
    from corrpo.report.diagnosis import diagnose
    from corrpo.report.pages.diagnosis import markdown, renew_page, write_diagnosis

    diagnosis = diagnose(
        load_labelled(options.labels),
        [evaluation for folder in options.evaluated for evaluation in load_evaluations(folder)],
        against=options.against,
        method=options.method,
        resamples=options.resamples,
        seed=options.seed,
    )
    paths = write_diagnosis(diagnosis, options.output)
    if options.page is not None:
        renew_page(options.page, diagnosis.table())
    print(markdown(diagnosis.table()))
    print(*paths, sep="\n")
    return {"models": diagnosis.table().to_dicts(), **diagnosis.as_dict()}
