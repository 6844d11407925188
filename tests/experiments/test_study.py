"""The results of the study that the documentation keeps follow from its recipes and its tables."""

import json
import re

import polars as pl
import pytest

from commands import ROOT
from corrpo.experiments.experiment_result import experiment_result
from corrpo.experiments.preregistration import sha256_of
from corrpo.experiments.recipe_reader import read_experiment
from corrpo.report.pages.experiment_markdown import markdown

STUDY = ROOT / "docs" / "study"
RECIPES = {
    "main": "experiment.yaml",
    "reworded-sums": "experiment_reworded_sums.yaml",
    "sorting": "experiment_sorting.yaml",
    "sizes": "experiment_sizes.yaml",
    "no-verifier": "experiment_no_verifier.yaml",
}


def numbers_as_floats(value):
    """What JSON makes of a value, with numbers to compare approximately."""
    if isinstance(value, dict):
        return {str(key): numbers_as_floats(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [numbers_as_floats(one) for one in value]
    return pytest.approx(value, rel=1e-6, abs=1e-9) if isinstance(value, float) else value


def read(name, file):
    return json.loads((STUDY / name / file).read_text())


@pytest.fixture(params=RECIPES)
def name(request):
    return request.param


def test_the_plan_is_that_of_the_recipe_and_its_hash_is_in_every_table(name):
    registered = read(name, "preregistration.json")
    assert sha256_of(registered["plan"]) == registered["sha256"]
    recipe = read_experiment(ROOT / "recipes" / "lab" / RECIPES[name])
    known = json.loads(json.dumps(recipe.as_dict()))
    for arm in known["arms"].values():  # a setting that the version of the study had not: it did as 0 does
        assert arm["settings"].pop("inversion_fit_tokens", 0) == 0
    assert {key: registered["plan"][key] for key in known} == known
    for table in ("results", "runs"):
        hashes = pl.read_parquet(STUDY / name / f"{table}.parquet")["preregistration"].unique().to_list()
        assert hashes == [registered["sha256"]]


def test_verdict_and_report_follow_from_the_tables(name):
    recipe = read_experiment(ROOT / "recipes" / "lab" / RECIPES[name])
    tables = [pl.read_parquet(STUDY / name / f"{table}.parquet") for table in ("results", "runs")]
    registered = read(name, "preregistration.json")
    result = experiment_result(*tables, recipe, registered["sha256"])
    assert numbers_as_floats(result.as_dict()) == json.loads((STUDY / name / "verdict.json").read_text())
    assert markdown(result, registered) == (STUDY / name / "report.md").read_text()


def test_the_page_shows_every_deciding_comparison_of_every_experiment_that_is_kept(name):
    page = (STUDY / "index.md").read_text()
    verdict = read(name, "verdict.json")["verdict"]
    assert f"]({name}/report.md)" in page
    for row in deciding_rows(name):
        assert row in page
    assert verdict["sentence"] in re.sub(r"\s+", " ", page)


def deciding_rows(name):
    """The lines of the report's first table."""
    report = (STUDY / name / "report.md").read_text()
    lines = report.partition("## The comparisons that decide")[2].partition("\n\nDifferences")[0]
    return [line for line in lines.splitlines() if line.startswith("| all models |")]


def test_the_page_states_how_far_apart_runs_are_that_differ_in_rounding_alone():
    solved = pl.col("correct").sum() / pl.col("generations").sum()
    rates = pl.read_parquet(STUDY / "main" / "results.parquet").group_by("model", "arm", "seed").agg(solved)
    pairs = rates.filter(arm="constant").join(rates.filter(arm="grpo"), on=["model", "seed"])
    apart = pairs.select("model", points=100 * (pl.col("correct") - pl.col("correct_right")))
    page = (STUDY / "index.md").read_text().replace("\n ", "")
    for model in ("llama", "qwen2"):
        points = apart.filter(model=model)["points"]
        sentence = f"by {points.min():.2f} to {points.max():.2f}".replace("-", "−")
        assert re.search(f"{sentence}( points)? on {model}", page)
