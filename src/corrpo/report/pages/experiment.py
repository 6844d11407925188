"""The report of an experiment: verdict, comparisons, arms, association; with figures as files."""

from pathlib import Path
from typing import Any

from markupsafe import Markup

from corrpo.experiments.experiment_result import ExperimentResult
from corrpo.experiments.preregistration import PREREGISTRATION
from corrpo.experiments.result_tables import BEFORE
from corrpo.jobs.files import read_json, write_text
from corrpo.report.figures import Drawing
from corrpo.report.figures.experiment_arms import Bar, Place, arms_figure, differences_figure
from corrpo.report.pages.experiment_markdown import association_told, markdown
from corrpo.report.pages.render import render
from corrpo.report.plotting.figure_style import inline

PAGE, MARKDOWN = "report.html", "report.md"
SUPPORT = (
    "The verdict is chosen by rules that were written down with all settings before the first run; the hash "
    "of that plan is above and in every row of the tables. It is about these models, as they are, on "
    "problems like these; seeds and problems are taken as a sample, models are not.",
    "The intervals of one family of comparisons hold together (Bonferroni); those of each model, of each "
    "pass@k and of other arms are families of their own.",
    "Comparisons within a model, of other pass@k and of other arms are corrected among themselves and decide "
    "nothing.",
    "How much of the gain goes with rho is an association over arms and seeds: whatever moves both, such as "
    "the length of responses, is in it, and error in rho draws the line towards 0. The arms that hold or "
    "remove the inversion are what speaks of cause.",
    "rho is measured on the model's own responses, which differ between runs.",
)


def write_experiment_report(found: ExperimentResult, folder: Path) -> list[Path]:
    """Write FOLDER/report.html, FOLDER/report.md and FOLDER/figures.

    Args:
        found: of `corrpo.experiments.run_experiment.run_experiment`.
        folder: its output, which holds preregistration.json.

    Returns:
        The paths of all files.

    Raises:
        OutputFolderError: the folder cannot be written to.
    """
    verdict, k = found.verdict, found.verdict.analysis.k[0]
    same_k = [each for each in (*verdict.deciding, *verdict.others) if each.k == k]
    points = f"{verdict.analysis.treatment} less other arm (points of pass@{k})"
    drawings = [
        differences_figure(
            "differences",
            [
                Bar(each.model, each.arm, 100 * each.contrast.value, *_percent(each.contrast))
                for each in same_k
            ],
            smallest=100 * verdict.analysis.smallest_effect,
            axis_label=points,
        )
    ]
    places = [
        Place(each.model, each.arm, each.change, 100 * (each.accuracy[k].value or 0.0))
        for each in found.arms
        if each.arm != BEFORE and each.change is not None and each.accuracy[k].value is not None
    ]
    if places:
        drawings.append(
            arms_figure("arms", places, x_label="change of ρ over training", y_label=f"pass@{k} (%)")
        )
    paths = [folder / PAGE]
    for drawing in drawings:
        for suffix in ("svg", "parquet"):
            paths.append(folder / "figures" / f"{drawing.name}.{suffix}")
            drawing.write(paths[-1])
    registered = read_json(folder / PREREGISTRATION)
    paths.append(folder / MARKDOWN)
    write_text(paths[-1], markdown(found, registered))
    write_text(
        paths[0],
        render(
            "experiment.html",
            title="An experiment on the inversion",
            found=found,
            verdict=verdict,
            registered=registered,
            plan=registered["plan"],
            plates=[_plate(each) for each in drawings],
            support=SUPPORT,
            association=association_told(found.association),
        ),
    )
    return paths


_CAPTIONS = {
    "differences": "The difference in accuracy from each arm, paired by seed and problem; the intervals of a "
    "panel hold together. "
    "The band holds what is smaller than the smallest effect of interest.",
    "arms": "Each arm: its mean change of ρ and its mean accuracy, over seeds.",
}


def _plate(drawing: Drawing) -> dict[str, Any]:
    svg = Markup(inline(drawing.svg()))
    return {"name": drawing.name, "svg": svg, "caption": _CAPTIONS[drawing.name]}


def _percent(contrast: Any) -> tuple[float | None, float | None]:
    if contrast.low is None or contrast.high is None:
        return None, None
    return 100 * contrast.low, 100 * contrast.high
