"""`corrpo report DIR... --output DIR`: any set of results as one page, with its figures as files."""

from dataclasses import dataclass
from typing import Annotated, Any

from tyro.conf import Positional, arg

from corrpo.cli.printing import Output, Printed
from corrpo.errors import visible
from corrpo.report.options import ReportOptions


@dataclass(frozen=True, kw_only=True)
class Report(ReportOptions, Printed):
    """Report results: figures 1 to 5, tables, intervals, controls, settings and what they support.

    corrpo report out/measured out/track out/evaluated --output out/report

    Writes OUTPUT/report.html, one file that needs nothing else, and OUTPUT/figures: every figure as SVG and
    PDF, and as Parquet the numbers in it with the file that each comes from. Results that cannot stand in
    one figure are refused.
    """

    words: Annotated[
        Positional[tuple[str, ...]], arg(metavar="[LABEL=]DIR ...", help_behavior_hint="(one or more)")
    ]
    """Folders that corrpo measure, track or evaluate wrote, or folders of such folders. LABEL is
    FAMILY/NAME or NAME; a family has a panel of its own. Without one the label of a folder is the last two of
    its names below DIR, and that of DIR itself its own name. A trajectory and an evaluation under one label
    are one run."""
    output: Output
    """Folder of the page and the figures; made if missing. Files of an earlier report are replaced."""


def run(options: Report) -> dict[str, Any]:
    """Collect, write, and print the paths."""
    from corrpo.jobs.console import Console
    from corrpo.jobs.progress_bar import with_progress
    from corrpo.models.keywords import narrow
    from corrpo.report.collection import collect
    from corrpo.report.pages.report import write_results
    from corrpo.report.results import Results

    messages = Console(stderr=True)
    collection = collect(options.words)
    for path in collection.unfinished:
        messages.print(
            visible(f"left out, as it is unfinished: {path}"), highlight=False, markup=False, soft_wrap=True
        )
    results = Results(
        collection,
        narrow(options, ReportOptions),
        progress=lambda pairs: with_progress(pairs, "comparing types"),
    )
    for line in results.unmatched:
        messages.print(visible(line), highlight=False, markup=False, soft_wrap=True)
    paths = write_results(results, options.output)
    print(*paths, sep="\n")
    return {"written": [str(path) for path in paths]}
