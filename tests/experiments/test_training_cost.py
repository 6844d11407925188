"""Costs of training: from the files of runs to tables, arms at equal cost, report and figure."""

import json
import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from commands import ROOT
from corrpo.experiments.experiment_result import experiment_result
from corrpo.experiments.recipe_reader import read_experiment
from corrpo.experiments.result_tables import RUNS_SCHEMA, table_of
from corrpo.experiments.training_cost import COSTS_SCHEMA, arm_costs, matched_arms, unmatched_arms
from corrpo.report.figures import arm_accuracy_and_cost
from corrpo.report.pages.experiment import write_experiment_report
from corrpo.report.pages.experiment_markdown import markdown
from corrpo.training.cost_file import read_costs

STUDY = ROOT / "docs" / "study" / "sorting"
ARMS = {"grpo": (1000, 10.0), "corrpo": (1000, 20.0), "shuffle": (500, 20.0)}
"""Tokens and seconds of a step."""
SEEDS = (0, 1, 2)


def costs(model="qwen2", gain=0.01, arms=ARMS, steps=(10, 20, 30, 40)):
    """Runs whose accuracy rises by `gain` a step, the same for all arms, from a start of their seed."""
    rows = [
        {"model": model, "arm": arm, "seed": seed, "step": step, "preregistration": "x"}
        | {
            "generated_tokens": step * tokens,
            "seconds": step * seconds,
            "accuracy": 0.1 + 0.01 * seed + gain * step,
        }
        for arm, (tokens, seconds) in arms.items()
        for seed in SEEDS
        for step in steps
    ]
    rows.append(rows[-1] | {"step": steps[-1] + 1, "accuracy": None})
    return table_of(rows, COSTS_SCHEMA)


def runs():
    rows = [
        {
            "model": "qwen2",
            "arm": arm,
            "seed": seed,
            "generated_tokens": 40 * tokens + seed,
            "seconds": 40 * seconds,
        }
        | {"abstained": 0.125, "cut": 0.25}
        for arm, (tokens, seconds) in ARMS.items()
        for seed in SEEDS
    ]
    rows.insert(0, {"model": "qwen2", "arm": "before", "abstained": 0.5, "cut": 0.0})
    return table_of(rows, RUNS_SCHEMA)


def test_arms_are_compared_at_the_cost_that_all_runs_of_both_reached():
    found = {(row.arm, row.measure): row for row in matched_arms(costs(), "grpo", 0.95)}
    assert found.keys() == {
        (arm, by) for arm in ("corrpo", "shuffle") for by in ("generated_tokens", "seconds")
    }
    tokens = found["corrpo", "generated_tokens"]
    assert (tokens.budget, tokens.difference.value) == (40_000, pytest.approx(0))
    seconds = found["corrpo", "seconds"]
    assert seconds.budget == 400.0, "grpo took no longer"
    assert seconds.accuracy.value == pytest.approx(0.11 + 0.01 * 20)
    assert seconds.difference.value == pytest.approx(0.01 * (20 - 40)), "half of the steps"
    assert found["shuffle", "generated_tokens"].difference.value == pytest.approx(0.01 * (40 - 20))
    assert seconds.accuracy.low == pytest.approx(0.31 - 4.302653 * 0.01 / np.sqrt(3))


def test_a_cost_between_two_evaluations_is_read_off_a_line():
    arms = {"grpo": (1000, 10.0), "corrpo": (1000, 16.0)}
    (row,) = (row for row in matched_arms(costs(arms=arms), "grpo", 0.95) if row.measure == "seconds")
    assert row.accuracy.value == pytest.approx(0.11 + 0.01 * 25)


def test_what_cannot_be_matched_is_left_out():
    none = costs().with_columns(accuracy=pl.lit(None, pl.Float64))
    assert matched_arms(none, "grpo", 0.95) == ()
    one_missing = costs().filter(~((pl.col("arm") == "grpo") & (pl.col("seed") == 2)))
    assert matched_arms(one_missing, "grpo", 0.95) == ()
    slow = costs(arms={"grpo": (1000, 1.0), "corrpo": (1000, 99.0)})
    (row,) = matched_arms(slow, "grpo", 0.95)
    assert row.measure == "generated_tokens"
    assert unmatched_arms(slow, "grpo", [row]) == [("qwen2", "corrpo", "seconds")]
    assert unmatched_arms(none, "grpo", []) == []


def test_costs_of_arms_are_means_over_seeds_and_those_of_earlier_tables_are_none():
    before, grpo, *_ = arm_costs(runs(), 0.95)
    assert (before.arm, before.seconds.value, before.abstained.value) == ("before", None, 0.5)
    assert (grpo.generated_tokens.value, grpo.generated_tokens.n_seeds) == (40_001, 3)
    assert (grpo.abstained.value, grpo.cut.value, grpo.cut.low) == (0.125, 0.25, 0.25)
    assert arm_costs(pl.read_parquet(STUDY / "runs.parquet"), 0.95) == ()
    assert arm_costs(runs().with_columns(cut=pl.lit(None, pl.Float64)), 0.95) == ()


def test_a_run_without_the_file_has_no_costs(tmp_path):
    assert read_costs(tmp_path) == []
    (tmp_path / "cost.jsonl").write_text('{"step": 1, "seconds": 2.0}\n')
    assert read_costs(tmp_path) == [{"step": 1, "seconds": 2.0}]


@pytest.fixture
def result():
    """That of an experiment of the study, as if its runs had written their costs down."""
    recipe = read_experiment(ROOT / "recipes" / "lab" / "experiment_sorting.yaml")
    results, table = (pl.read_parquet(STUDY / f"{name}.parquet") for name in ("results", "runs"))
    trained, rng = table["seed"].is_not_null(), np.random.default_rng(0)
    per_step = pl.col("arm").replace_strict({arm: cost[1] for arm, cost in ARMS.items()}, default=0.0)
    table = table.with_columns(
        abstained=pl.lit(0.03),
        cut=pl.lit(0.1),
        generated_tokens=pl.when(trained).then(pl.Series(rng.integers(180_000, 220_000, table.height))),
        seconds=pl.when(trained).then(40 * per_step + pl.Series(rng.normal(0, 9, table.height))),
    )
    curves = pl.concat([costs(model, gain=0.015) for model in table["model"].unique(maintain_order=True)])
    return experiment_result(results, table, recipe, "digest", curves)


def test_the_report_shows_costs_and_arms_at_equal_cost(result, tmp_path):
    registered = json.loads((STUDY / "preregistration.json").read_text())
    (tmp_path / "preregistration.json").write_text(json.dumps(registered))
    written = {path.name for path in write_experiment_report(result, tmp_path)}
    assert {"costs.svg", "costs.pdf", "costs.parquet"} <= written
    page, text = (tmp_path / "report.html").read_text(), (tmp_path / "report.md").read_text()
    assert page.count("<h2>Cost of training</h2>") == text.count("## Cost of training\n") == 1
    line = "| corrpo | grpo | 400 seconds of training | 41.0 [38.5, 43.5] | −30.0 [−30.0, −30.0] |"
    assert line in text
    assert "−30.0" in page
    assert json.loads(json.dumps(result.as_dict()))["matched"][0]["difference"]["n_seeds"] == 3
    assert "Not compared" not in text
    part = replace(result, matched=result.matched[1:])
    assert "Not compared with grpo at equal cost: corrpo on" in markdown(part, registered)
    without = replace(result, costs=table_of([], COSTS_SCHEMA), matched=())
    assert "at equal cost" not in markdown(without, registered)
    of_one_model = replace(result, verdict=replace(result.verdict, others=()))
    assert "## By model" in text
    assert "## By model" not in markdown(of_one_model, registered)


def test_the_report_links_the_figures_that_are_drawn(result, tmp_path):
    (tmp_path / "preregistration.json").write_text((STUDY / "preregistration.json").read_text())
    without_rho = replace(result, arms=tuple(replace(arm, change=None) for arm in result.arms))
    write_experiment_report(without_rho, tmp_path)
    links = re.findall(r"\(figures/(.*?)\)", (tmp_path / "report.md").read_text())
    assert links == ["differences.svg", "costs.svg"]
    assert {path.name for path in (tmp_path / "figures").glob("*.svg")} == set(links)


def test_the_figure_has_the_evaluations_or_else_the_ends(result):
    (drawn,) = arm_accuracy_and_cost.draw(result, "costs")
    data = drawn.drawing.data
    assert set(data["axis"]) == {"generated_tokens", "seconds", "step"}
    assert data.filter(series="corrpo", axis="seconds", panel="qwen2")["x"].to_list() == [200, 400, 600, 800]
    ends = replace(result, costs=table_of([], COSTS_SCHEMA))
    (drawn,) = arm_accuracy_and_cost.draw(ends, "costs")
    assert set(drawn.drawing.data["axis"]) == {"generated_tokens", "seconds"}
    assert drawn.facts == {"what": "pass@1"}
    assert set(drawn.drawing.data["series"]) == {"grpo", "corrpo", "shuffle"}
