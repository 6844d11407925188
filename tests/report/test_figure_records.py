"""The records of the figures: every one is complete, and one more is drawn without a change elsewhere."""

import sys
from types import ModuleType

import polars as pl
import pytest
from matplotlib.figure import Figure

from corrpo.errors import BadInputError
from corrpo.experiments.experiment_result import ExperimentResult
from corrpo.report import write_report
from corrpo.report.collection import collect
from corrpo.report.figures import FIGURES
from corrpo.report.figures.figure import Drawn, ReportFigure, figure_record
from corrpo.report.pages.report import SECTIONS
from corrpo.report.plotting.drawing import Drawing, numbers_table
from corrpo.report.results import Results
from report.runs import write_track


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_a_record_that_its_page_can_use(name):
    record = figure_record(name)
    results = ExperimentResult if record.section == "experiment" else Results
    held = {*dir(results), *getattr(results, "__dataclass_fields__", ()), "trajectories", "evaluated"}
    assert record.needs in held
    assert record.section in (*SECTIONS, "experiment")
    assert record.shows


def test_stems_of_files_are_distinct():
    stems = [figure_record(name).stem for name in FIGURES]
    assert len(set(stems)) == len(stems)


def test_an_unknown_figure_is_refused_with_the_nearest_name():
    with pytest.raises(
        BadInputError, match="figure 'rho_over_trainin' is unknown.*did you mean rho_over_training"
    ):
        figure_record("rho_over_trainin")


def draw_lengths(results, stem):
    rows = [
        {"series": run.label, "x": x, "value": point.mean_response_tokens, "source": str(point.folder)}
        for run in results.trajectories
        for x, point in enumerate(run.points)
    ]
    figure = Figure()
    figure.subplots().plot([row["x"] for row in rows], [row["value"] for row in rows])
    yield Drawn(Drawing(stem, figure, numbers_table(rows)), {"runs": len(results.trajectories)})


def test_a_figure_that_is_added_stands_in_the_page_and_in_the_files(tmp_path, monkeypatch):
    module = ModuleType("response_lengths")
    module.FIGURE = ReportFigure(  # pyright: ignore[reportAttributeAccessIssue]
        stem="figure6",
        section="dynamics",
        needs="trajectories",
        draw=draw_lengths,
        shows="Lengths of the responses of {runs} runs.",
    )
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(FIGURES, "response_lengths", module.__name__)
    write_track(tmp_path / "run", [("rl", [0, 5])])
    write_report(collect([str(tmp_path / "run")]), tmp_path / "report", formats=("svg",), resamples=0)
    page = (tmp_path / "report" / "report.html").read_text()
    assert '<figure id="figure6">' in page
    assert "Lengths of the responses of 1 runs." in page
    assert (tmp_path / "report" / "figures" / "figure6.svg").exists()
    assert pl.read_parquet(tmp_path / "report" / "figures" / "figure6.parquet").height == 2
