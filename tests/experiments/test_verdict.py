"""The rules of the verdict, on tables made for each; and the association of gain and rho."""

import numpy as np
import polars as pl
import pytest

from corrpo.errors import BadInputError
from corrpo.experiments.accuracy_against_rho import accuracy_against_rho
from corrpo.experiments.comparisons import POOLED
from corrpo.experiments.result_tables import RESULTS_SCHEMA, pass_at_k_tables
from corrpo.experiments.simulated_experiments import World, draw, draw_runs
from corrpo.experiments.verdict import reach_verdict
from corrpo.experiments.verdict_rules import Analysis

ARMS = ("grpo", "corrpo", "negate", "shuffle", "clamp", "constant")
GAINS = dict.fromkeys(ARMS, 0.0)
ANALYSIS = Analysis(k=[1, 4])


def verdict(seeds=5, problems=150, analysis=ANALYSIS, rho=-0.1, **gains):
    gains = GAINS | gains
    world = World(gains, seeds=seeds, problems=problems, run_spread=0.02, rho={"corrpo": rho})
    return reach_verdict(draw(world, 0), draw_runs(world, 0), analysis, models=["0", "1"])


def test_a_gain_over_everything_is_supported():
    reached = verdict(corrpo=0.15)
    assert reached.kind == "supported"
    assert "better than grpo and than every control" in reached.sentence
    assert all(
        comparison.p_corrected <= 0.05 and comparison.model == POOLED for comparison in reached.deciding
    )
    assert {(comparison.model, comparison.k) for comparison in reached.others} == {
        (POOLED, 4),
        *((model, k) for model in "01" for k in (1, 4)),
    }


def test_a_gain_that_a_control_has_too_is_not_supported():
    reached = verdict(corrpo=0.15, shuffle=0.2)
    assert reached.kind == "not supported"
    assert "than shuffle is excluded" in reached.sentence
    assert reached.deciding[0].contrast.value > 0.1


def test_a_baseline_that_is_no_worse_is_reported_once():
    reached = verdict(corrpo=-0.1)
    assert reached.kind == "not supported"
    assert "more than grpo" in reached.sentence
    assert "either" not in reached.sentence


def test_one_control_left_is_enough_to_withhold_support():
    reached = verdict(corrpo=0.15, clamp=0.14)
    assert reached.kind != "supported"


def test_few_seeds_are_undecided_and_say_what_they_could_have_seen():
    reached = verdict(seeds=2, problems=40, corrpo=0.03, rho=-0.9)
    assert reached.kind == "undecided"
    assert "with 80 % power each comparison would have seen" in reached.sentence


def test_an_inversion_that_was_not_strengthened_decides_nothing():
    reached = verdict(corrpo=0.15, rho=0.0)
    assert reached.kind == "undecided"
    assert "corrpo is not shown to strengthen the inversion" in reached.sentence
    assert reached.deciding[0].rho.high > 0
    supported = verdict(corrpo=0.15)
    assert supported.deciding[0].rho.value == pytest.approx(-0.1, abs=0.03)
    assert "change in rho less that of grpo is -0." in supported.sentence


def test_other_pairs_of_arms_are_reported_and_decide_nothing():
    also = Analysis(controls=["shuffle"], also={"negate": "clamp", "constant": "grpo"})
    reached = verdict(analysis=also, corrpo=0.15, negate=0.2)
    assert reached.kind == "supported"
    assert [(comparison.treatment, comparison.arm, comparison.model) for comparison in reached.also] == [
        ("negate", "clamp", POOLED),
        ("constant", "grpo", POOLED),
    ]
    first, second = reached.also
    assert first.contrast.value == pytest.approx(0.2, abs=0.04)
    assert first.p_corrected < 0.05 < second.p_corrected


def test_rho_that_does_not_exist_is_reported():
    world = World(GAINS, seeds=2, problems=10)
    runs = draw_runs(world, 0).with_columns(rho=None)
    reached = reach_verdict(draw(world, 0), runs, ANALYSIS, models=["0", "1"])
    assert "is not known, as rho does not exist" in reached.sentence


def test_missing_runs_and_generations_are_refused():
    world = World(GAINS, problems=10)
    results, runs = draw(world, 0), draw_runs(world, 0)
    with pytest.raises(BadInputError, match="shuffle on 1 are not those of seeds"):
        reach_verdict(
            results.filter(
                ~((pl.col("model") == "1") & (pl.col("arm") == "shuffle") & (pl.col("seed") == 2))
            ),
            runs,
            ANALYSIS,
            models=["0", "1"],
        )
    with pytest.raises(BadInputError, match="pass@5: a problem has 4 generations"):
        pass_at_k_tables(results, models=["0"], arms=["grpo"], k=5)


def test_outcomes_are_ordered_by_seed_and_problem():
    rows = [("m", "a", seed, problem, 2, seed, "x") for seed in (1, 0, 2) for problem in ("b", "a")]
    table = pl.DataFrame(rows, schema=RESULTS_SCHEMA, orient="row")
    solved = pass_at_k_tables(table, models=["m"], arms=["a"], k=1)["m", "a"]
    assert solved.tolist() == [[0, 0], [0.5, 0.5], [1, 1]]


def test_a_line_through_other_arms_is_found_and_what_seeds_share_is_not_in_it():
    rng = np.random.default_rng(0)
    arms = {name: rng.normal(0, 0.1) for name in ARMS}
    shared = rng.normal(0, 1, 5)
    change = {name: mean + rng.normal(0, 0.01, 5) for name, mean in arms.items()}
    accuracy = {name: 0.5 - 2 * change[name] + shared for name in ARMS}
    result = accuracy_against_rho(accuracy, change, treatment="corrpo", baseline="grpo")
    assert (result.n_arms, result.n_runs) == (4, 20)
    assert result.slope == pytest.approx(-2)
    assert result.along == pytest.approx(result.gain)
    assert result.along_low <= result.along <= result.along_high
    none = accuracy_against_rho(
        accuracy, dict.fromkeys(ARMS, np.zeros(5)), treatment="corrpo", baseline="grpo"
    )
    assert none.slope is None
    assert "does not differ" in none.reason
    three = ({name: of[name] for name in ("grpo", "corrpo", "shuffle")} for of in (accuracy, change))
    alone = accuracy_against_rho(*three, treatment="corrpo", baseline="grpo")
    assert alone.slope is None
    assert "2 different arms besides corrpo and grpo" in alone.reason


def test_the_treatment_draws_no_line_for_itself():
    rng = np.random.default_rng(0)
    change = {name: rng.normal(-0.3 if name == "corrpo" else 0.0, 0.02, 5) for name in ARMS}
    accuracy = {name: rng.normal(0.6 if name == "corrpo" else 0.5, 0.01, 5) for name in ARMS}
    result = accuracy_against_rho(accuracy, change, treatment="corrpo", baseline="grpo")
    assert result.gain == pytest.approx(0.1, abs=0.02)
    assert result.low < 0 < result.high


def test_equal_arms_count_once_and_seeds_without_rho_are_left_out():
    rng = np.random.default_rng(0)
    change = {name: rng.normal(0, 0.1, 5) for name in ARMS}
    accuracy = {name: rng.normal(0, 0.1, 5) for name in ARMS}
    alone = accuracy_against_rho(accuracy, change, treatment="corrpo", baseline="grpo")
    again = accuracy_against_rho(
        accuracy | {"twin": accuracy["negate"]},
        change | {"twin": change["negate"]},
        treatment="corrpo",
        baseline="grpo",
    )
    assert again == alone
    change["shuffle"][2] = np.nan
    accuracy["corrpo"][2] += 1
    part = accuracy_against_rho(accuracy, change, treatment="corrpo", baseline="grpo")
    assert part.n_runs == 16
    assert part.gain == pytest.approx(np.delete(accuracy["corrpo"] - accuracy["grpo"], 2).mean())


def test_models_that_differ_in_sign_and_full_marks_are_reported():
    parts = [draw(World(GAINS | {"corrpo": gain}, models=1, run_spread=0.02), 0) for gain in (0.25, -0.1)]
    results = pl.concat(
        [part.with_columns(model=pl.lit(name)) for name, part in zip("ab", parts, strict=True)]
    )
    runs = draw_runs(World(GAINS), 0).with_columns(pl.col("model").replace({"0": "a", "1": "b"}))
    reached = reach_verdict(results, runs, ANALYSIS, models=["a", "b"])
    assert "the models differ in sign" in reached.sentence
    full = reach_verdict(
        results.with_columns(correct=pl.col("generations")), runs, ANALYSIS, models=["a", "b"]
    )
    assert full.kind == "undecided"
    assert "both gave the same answers" in full.sentence
    assert "grpo solves 100.0 % of the problems: little could be seen" in full.sentence


def test_models_asked_other_problems_are_refused():
    world = World(GAINS, problems=10)
    results = draw(world, 0).with_columns(
        problem=pl.when(pl.col("model") == "1").then(pl.col("problem") + "x").otherwise("problem")
    )
    with pytest.raises(BadInputError, match="on the same problems"):
        reach_verdict(results, draw_runs(world, 0), ANALYSIS, models=["0", "1"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"treatment": "grpo"}, "expected arms that differ"),
        ({"k": []}, "expected one or more numbers"),
        ({"smallest_effect": 0.0}, "smallest_effect=0.0"),
        ({"power": 0.01}, "between alpha"),
        ({"also": {"dapo": "dapo"}}, "expected the name of another arm"),
    ],
)
def test_an_analysis_that_cannot_be_is_refused(given, message):
    with pytest.raises(BadInputError, match=message):
        Analysis(**given)
