"""The page of an experiment: verdict, comparisons, arms, association; with figures and Markdown beside it."""

from pathlib import Path

from corrpo.experiments.experiment_result import ExperimentResult
from corrpo.experiments.preregistration import PREREGISTRATION
from corrpo.experiments.training_cost import MEASURES
from corrpo.jobs.files import read_json, write_text
from corrpo.report.figures.figure import draw_figures, write_figures
from corrpo.report.html_templates import render
from corrpo.report.pages.experiment_markdown import association_sentence, cost_sentences, markdown

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


def write_experiment_report(result: ExperimentResult, folder: Path) -> list[Path]:
    """Write FOLDER/report.html, FOLDER/report.md and FOLDER/figures; the paths of all files."""
    figures = draw_figures(result, ("experiment",))
    written = write_figures(figures, folder / "figures", ("svg", "pdf", "parquet"))
    registered = read_json(folder / PREREGISTRATION)
    drawn = [figure.name for figure in figures["experiment"]]
    write_text(folder / MARKDOWN, markdown(result, registered, drawn))
    page = render(
        "experiment.html",
        title="An experiment on the inversion",
        result=result,
        verdict=result.verdict,
        registered=registered,
        plan=registered["plan"],
        figures=figures["experiment"],
        support=SUPPORT,
        association=association_sentence(result.association),
        cost_sentences=cost_sentences(result),
        measures=MEASURES,
    )
    write_text(folder / PAGE, page)
    return [folder / PAGE, *written, folder / MARKDOWN]
