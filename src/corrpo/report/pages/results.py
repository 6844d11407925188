"""The report of any set of results: one self-contained HTML page, and its figures as files for a paper."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from markupsafe import Markup

from corrpo.errors import BadInputError
from corrpo.jobs.files import write_json, write_text
from corrpo.measurement.comparison import compare_fingerprints
from corrpo.measurement.labelled_fingerprints import in_order
from corrpo.measurement.stage_changes import stage_changes
from corrpo.measurement.trajectory import Trajectory, check_same_measurement
from corrpo.report import explanations
from corrpo.report.accuracy_and_rho import Performance, join_performance
from corrpo.report.accuracy_table import benchmark_table
from corrpo.report.collection import Collection
from corrpo.report.figures import FORMATS, Drawing
from corrpo.report.formatting import count, with_interval
from corrpo.report.pages.comparison import comparison_context
from corrpo.report.pages.render import render
from corrpo.report.plates import comparison_figures
from corrpo.report.plotting.figure_style import inline
from corrpo.report.plotting.run_lines import Axis
from corrpo.report.run_plates import (
    continuations,
    dynamics_plate,
    performance_plates,
    run_of,
    runs_from_one_start,
    runs_plate,
)

PAGE, COMPARISON, FIGURES = "report.html", "comparison.json", "figures"
DOTTED = "A dotted level leads from the end of a stage to the next one where another run's stage is longer."


@dataclass(frozen=True)
class _Plate:
    """A figure as the page shows it."""

    name: str
    svg: Markup
    caption: str


def write_report(
    collection: Collection,
    output: Path | str,
    *,
    axis: Axis = "steps",
    published: bool = False,
    formats: Sequence[str] = ("svg", "pdf"),
    measure: str = "pass@1",
    resamples: int = 1000,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> list[Path]:
    """Write OUTPUT/report.html, every figure with its numbers into OUTPUT/figures, and any comparison.json.

    Args:
        collection: what `collect` found.
        output: a folder; made if missing, files of an earlier report are replaced.
        axis: of the steps; with "fraction" runs of other lengths lie over one another.
        published: lay the published curves over those of the same family.
        formats: of the figures: svg, pdf, png. Their numbers are always written, as Parquet.
        measure: pass@k that stands for accuracy in figures 4 and 5.
        resamples: behind the intervals that are computed here.
        progress: wraps the pairs of types while their differences are computed.

    Returns:
        The paths of all files.

    Raises:
        BadInputError: an unknown axis or format; results that cannot stand in one figure or table, with what
            differs between them.
        OutputFolderError: the folder cannot be written to.
    """
    unknown = [each for each in formats if each not in FORMATS]
    if unknown or axis not in get_args(Axis):
        wrong, known = (f"format {unknown[0]!r}", FORMATS) if unknown else (f"axis {axis!r}", get_args(Axis))
        raise BadInputError(f"{wrong} is unknown; expected one of {', '.join(known)}")
    page = _Page(collection, axis, published, measure, resamples, progress)
    context = page.context()
    output = Path(output)
    paths = []
    for drawing in page.drawings:
        for suffix in (*formats, "parquet"):
            paths.append(output / FIGURES / f"{drawing.name}.{suffix}")
            drawing.write(paths[-1])
    if context["comparison"] is not None:
        paths.insert(0, output / COMPARISON)
        write_json(paths[0], context["comparison"].as_dict())
    write_text(output / PAGE, render("report.html", **context))
    return [output / PAGE, *paths]


class _Page:
    """Everything that the template asks for, section by section; collects the figures on the way."""

    def __init__(
        self,
        collection: Collection,
        axis: Axis,
        published: bool,
        measure: str,
        resamples: int,
        progress: Callable[[Sequence[Any]], Iterable[Any]],
    ):
        self.collection = collection
        self.axis: Axis = axis
        self.published = published
        self.measure = measure
        self.resamples = resamples
        self.progress = progress
        self.drawings: list[Drawing] = []
        self.support: list[str] = []
        self.lede: list[str] = []
        self.runs = {each.label: each for each in collection.evaluated}
        check_same_measurement(collection.trajectories)

    def context(self) -> dict[str, Any]:
        """The names that report.html uses."""
        found = self.collection
        parts = self._types() | self._dynamics() | self._benchmarks() | self._performance() | self._runs()
        settings = found.trajectories[0].settings if found.trajectories else parts.get("measurement", {})
        return parts | {
            "title": "Entropy and gradient strength",
            "counts": self._counts(),
            "estimator": explanations.estimator_label(settings) if settings else "",
            "lede": self.lede,
            "support": list(dict.fromkeys(self.support)),
            "notes": parts["comparison"].notes if parts["comparison"] else [],
            "unfinished": [str(path) for path in found.unfinished],
            "made_by": self._made_by(),
            "interval_name": explanations.interval_name(settings) if settings else "interval",
        }

    def _counts(self) -> str:
        found = self.collection
        counted = (
            (len(found.fingerprints), "fingerprints"),
            (len(found.trajectories), "trajectories"),
            (sum(len(each.evaluations) for each in found.evaluated), "evaluations"),
        )
        return ", ".join(f"{number:,} {what}" for number, what in counted if number)

    def _plate(self, drawing: Drawing, caption: str) -> _Plate:
        self.drawings.append(drawing)
        return _Plate(drawing.name, Markup(inline(drawing.svg())), caption)

    def _types(self) -> dict[str, Any]:
        """Figures 1 and 2, and the tables of `corrpo compare`."""
        if not self.collection.fingerprints:
            return {"comparison": None}
        labelled = in_order(self.collection.fingerprints)
        comparison = compare_fingerprints(labelled, resamples=self.resamples, progress=self.progress)
        fingerprints = [each.fingerprint for each in labelled]
        types, scatters = comparison_figures(comparison, fingerprints)
        types.name = "figure2"
        for family, drawing in scatters:
            drawing.name = drawing.name.replace("scatter", "figure1", 1) if family else "figure1"
        self.drawings += [*(drawing for _, drawing in scatters), types]
        context = comparison_context(comparison, fingerprints, (types, scatters))
        self.support += context.pop("support")
        return context | {"measurement": comparison.measurement}

    def _dynamics(self) -> dict[str, Any]:
        """Figure 3, and what each stage changed."""
        trajectories = [each for each in self.collection.trajectories if each.stages]
        if not trajectories:
            return {"trajectories": []}
        settings = trajectories[0].settings
        self.support += [*explanations.DYNAMICS_NOTES, *explanations.support_notes(settings, untrained=False)]
        if self.published:
            self.support.append(explanations.PUBLISHED_NOTE)
        changes = [(each.label, stage_changes(each, resamples=self.resamples)) for each in trajectories]
        for label, of_run in changes:
            self.lede += [
                f"{label}: over {change.stage}, ρ went from {with_interval(change.first.spearman)} to "
                f"{with_interval(change.last.spearman)}, a change of {with_interval(change.difference)}."
                for change in of_run
            ]
        continued = continuations(trajectories)
        whole = [each for each in trajectories if each.label not in continued]
        drawing = dynamics_plate(
            whole, axis=self.axis, published=self.published, value_label=self._rho_label(trajectories)
        )
        caption = (
            "Spearman ρ of token entropy and gradient strength at each checkpoint, on the same prompts. Bars "
            "and bands are intervals that resample whole samples; a cross is a ρ that does not exist. "
            f"{DOTTED}"
            f"{' Runs that go on from a checkpoint of another one are in figure 5.' if continued else ''}"
        )
        return {
            "trajectories": trajectories,
            "stage_changes": changes,
            "dynamics": self._plate(drawing, caption),
            "skips": [(each.label, each.folder, skip) for each in trajectories for skip in each.skipped],
        }

    def _rho_label(self, trajectories: Sequence[Trajectory]) -> str:
        return (
            f"Spearman ρ of entropy and\nstrength ({explanations.estimator_label(trajectories[0].settings)})"
        )

    def _benchmarks(self) -> dict[str, Any]:
        """The table of accuracies."""
        if not self.collection.evaluated:
            return {"benchmarks": None}
        self.support += explanations.BENCHMARK_NOTES
        return {"benchmarks": benchmark_table(self.collection.evaluated)}

    def _joined(self) -> list[Performance]:
        runs = self.runs
        joined = [
            join_performance(
                each, runs[each.label].evaluations, suite, measure=self.measure, resamples=self.resamples
            )
            for each in self.collection.trajectories
            if each.label in runs
            for suite in dict.fromkeys(found.suite["name"] for found in runs[each.label].evaluations)
        ]
        return [each for each in joined if each is not None and len(each.points) > 1]

    def _performance(self) -> dict[str, Any]:
        """Figure 4."""
        performances = self._joined()
        if not performances:
            return {"performances": []}
        self.support += explanations.PERFORMANCE_NOTES
        drawn = performance_plates(performances, self.runs, rho_label="Spearman ρ of entropy and strength")
        caption = (
            "Accuracy against ρ at the checkpoints of a run, joined in the order of training; darker is "
            "later. Bars are intervals: over samples for ρ, over problems for accuracy."
        )
        return {
            "performances": performances,
            "performance_figures": [self._plate(each, caption) for each in drawn],
        }

    def _runs(self) -> dict[str, Any]:
        """Figure 5."""
        groups = runs_from_one_start([each for each in self.collection.trajectories if each.stages])
        if not groups:
            return {"runs": []}
        self.support += explanations.RUNS_NOTES
        suites = [each.suite["name"] for run in self.runs.values() for each in run.evaluations]
        plates = []
        for number, group in enumerate(groups):
            drawing = runs_plate(
                number,
                group,
                self.runs,
                suite=suites[0] if suites else None,
                measure=self.measure,
                axis=self.axis,
                rho_label=self._rho_label(group),
            )
            names = ", ".join(dict.fromkeys(run_of(each.label) for each in group))
            caption = (
                f"Runs that started from the same weights: {names}. Bars and bands are intervals. {DOTTED}"
            )
            plates.append({"figure": self._plate(drawing, caption)})
        return {"runs": plates}

    def _made_by(self) -> list[tuple[str, dict[str, dict[str, Any]]]]:
        """For each trajectory and evaluated run, the settings behind its numbers."""
        made = []
        for each in self.collection.trajectories:
            facts = {"folder": str(each.folder), "checkpoints": count(len(each.points)), **each.samples}
            made.append((f"{each.label}: trajectory", {"Samples": facts, "Settings": each.settings}))
        for run in self.collection.evaluated:
            for suite in dict.fromkeys(each.suite["name"] for each in run.evaluations):
                first = next(each for each in run.evaluations if each.suite["name"] == suite)
                facts = {"folder": str(run.folder), **first.suite}
                parts = {"Suite": facts, "Settings": first.settings, "Versions": first.versions}
                made.append((f"{run.label}: {suite}", parts))
        return made
