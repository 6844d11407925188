"""The page of `corrpo report`: any set of results, self-contained, with its figures as files for a paper."""

from pathlib import Path
from typing import Any

from corrpo.jobs.files import write_json, write_text
from corrpo.measurement.stage_changes import stage_changes
from corrpo.models.keywords import keywords_of
from corrpo.report import explanations
from corrpo.report.accuracy_table import accuracy_table
from corrpo.report.collection import Collection
from corrpo.report.figures.figure import Section, draw_figures, write_figures
from corrpo.report.formatting import count, with_interval
from corrpo.report.html_templates import render
from corrpo.report.options import ReportOptions
from corrpo.report.pages.comparison import comparison_context
from corrpo.report.results import Results

PAGE, COMPARISON, FIGURES = "report.html", "comparison.json", "figures"
SECTIONS: tuple[Section, ...] = ("tokens", "types", "dynamics", "performance", "runs")


@keywords_of(ReportOptions)
def write_report(collection: Collection, output: Path | str, options: ReportOptions) -> list[Path]:
    """Write OUTPUT/report.html, every figure with its numbers into OUTPUT/figures, and any comparison.json.

    Args:
        collection: what `collect` found.
        output: a folder; made if missing, files of an earlier report are replaced.

    Returns:
        The paths of all files.

    Raises:
        BadInputError: an unknown axis or format; results that cannot stand in one figure or table, with what
            differs between them.
        OutputFolderError: the folder cannot be written to.
    """
    return write_results(Results(collection, options), Path(output))


def write_results(results: Results, output: Path) -> list[Path]:
    """`write_report` of results that are collected already."""
    figures = draw_figures(results, SECTIONS)
    context = _context(results)
    paths = write_figures(figures, output / FIGURES, (*results.options.formats, "parquet"))
    if results.compared is not None:
        paths.insert(0, output / COMPARISON)
        write_json(paths[0], results.compared.comparison.as_dict())
    write_text(output / PAGE, render("report.html", **context, figures=figures))
    return [output / PAGE, *paths]


def _context(results: Results) -> dict[str, Any]:
    """The names that report.html uses, but for the figures."""
    compared, trajectories = results.compared, results.trajectories
    parts = comparison_context(compared) if compared else {"comparison": None, "support": []}
    changes = [(run.label, stage_changes(run, resamples=results.options.resamples)) for run in trajectories]
    return parts | {
        "title": "Entropy and gradient strength",
        "counts": _counts(results.collection),
        "lede": [
            f"{label}: over {change.stage}, ρ went from {with_interval(change.first.spearman)} to "
            f"{with_interval(change.last.spearman)}, a change of {with_interval(change.difference)}."
            for label, of_run in changes
            for change in of_run
        ],
        "trajectories": trajectories,
        "stage_changes": changes,
        "cut_notes": [
            (run.label, note)
            for run in trajectories
            if (note := explanations.cut_note(run.largest_cut, run.settings, largest=True))
        ],
        "skips": [(run.label, run.folder, skip) for run in trajectories for skip in run.skipped],
        "accuracies": accuracy_table(results.collection.evaluated) if results.evaluated else None,
        "performances": results.performances,
        "support": list(dict.fromkeys([*parts["support"], *_support(results)])),
        "notes": compared.comparison.notes if compared else [],
        "unmatched": results.unmatched,
        "unfinished": [str(path) for path in results.collection.unfinished],
        "made_by": _made_by(results.collection),
        **_measured_with(results),
    }


def _measured_with(results: Results) -> dict[str, str]:
    """What to call the estimator, and the intervals of trajectories."""
    if results.collection.trajectories:
        settings = results.collection.trajectories[0].settings
    else:
        settings = results.compared.comparison.measurement if results.compared else {}
    return {
        "estimator": explanations.estimator_label(settings) if settings else "",
        "interval_name": explanations.interval_name(settings),
    }


def _support(results: Results) -> list[str]:
    """What the sections on runs do and do not support."""
    lines: list[str] = []
    if results.trajectories:
        settings = results.trajectories[0].settings
        lines += [*explanations.DYNAMICS_NOTES, *explanations.support_notes(settings, untrained=False)]
        if results.options.published:
            lines.append(explanations.PUBLISHED_NOTE)
    if results.evaluated:
        lines += explanations.BENCHMARK_NOTES
    if results.performances:
        lines += explanations.PERFORMANCE_NOTES
    if results.run_groups:
        lines += explanations.RUNS_NOTES
    return lines


def _counts(collection: Collection) -> str:
    counted = (
        (len(collection.fingerprints), "fingerprint", "fingerprints"),
        (len(collection.trajectories), "trajectory", "trajectories"),
        (sum(len(run.evaluations) for run in collection.evaluated), "evaluation", "evaluations"),
    )
    return ", ".join(f"{number:,} {one if number == 1 else many}" for number, one, many in counted if number)


def _made_by(collection: Collection) -> list[tuple[str, dict[str, dict[str, Any]]]]:
    """For each trajectory and evaluated run, the settings behind its numbers."""
    made: list[tuple[str, dict[str, dict[str, Any]]]] = []
    for run in collection.trajectories:
        facts = {"folder": str(run.folder), "checkpoints": count(len(run.points)), **run.samples}
        made.append((f"{run.label}: trajectory", {"Samples": facts, "Settings": run.settings}))
    for run in collection.evaluated:
        for suite in run.suites:
            first = next(row for row in run.evaluations if row.suite["name"] == suite)
            facts = {"folder": str(run.folder), **first.suite}
            parts = {"Suite": facts, "Settings": first.settings, "Versions": first.versions}
            made.append((f"{run.label}: {suite}", parts))
    return made
