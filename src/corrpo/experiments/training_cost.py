"""What training an arm cost, in generated tokens and seconds, and its accuracy at the cost of the baseline.

A step of one arm may cost more than that of another (CorR-PO measures, and lengths differ), so that equal
steps are no equal means. Where the runs were evaluated while they trained (`eval_strategy` in the recipe),
arms are compared at the largest cost that every run of both had reached, on the lines between evaluations.
Seconds depend on the machine and on what ran beside a run; tokens do not. Ours; nothing of it enters the
verdict.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from corrpo.experiments.arm_difference import SeedMean, mean_over_seeds
from corrpo.statistics.coefficients import Array

COSTS = "costs.parquet"
COSTS_SCHEMA: dict[str, Any] = {
    "model": pl.String,
    "arm": pl.String,
    "seed": pl.Int64,
    "step": pl.Int64,
    "generated_tokens": pl.Int64,
    "seconds": pl.Float64,
    "accuracy": pl.Float64,
    "preregistration": pl.String,
}
"""The cost of each run so far, at each of its logs; accuracy where it was evaluated while it trained."""
MEASURES = {"generated_tokens": "tokens generated", "seconds": "seconds of training"}
"""Columns of cost, and what to call them."""


@dataclass(frozen=True)
class ArmCost:
    """What one arm cost on one model, and what became of the responses that were scored at its end.

    Attributes:
        model: its name.
        arm: its name; "before" for the model itself, which cost nothing.
        generated_tokens: of all rollouts of a run, mean over seeds.
        seconds: of training, without evaluations.
        abstained: part of the scored responses that ended without an answer.
        cut: part that did not end; no answer is counted as abstained there.
    """

    model: str
    arm: str
    generated_tokens: SeedMean
    seconds: SeedMean
    abstained: SeedMean
    cut: SeedMean


@dataclass(frozen=True)
class MatchedArm:
    """Accuracy of an arm and of the baseline at one cost, paired by seed.

    Attributes:
        model: its name.
        arm: its name.
        baseline: the arm that it is compared with.
        measure: "generated_tokens" or "seconds".
        budget: the cost.
        accuracy: of the arm, by the evaluations while it trained.
        difference: from that of the baseline.
    """

    model: str
    arm: str
    baseline: str
    measure: str
    budget: float
    accuracy: SeedMean
    difference: SeedMean


def arm_costs(runs: pl.DataFrame, confidence: float) -> tuple[ArmCost, ...]:
    """Of each arm on each model, from the table of runs; none from one of an earlier version."""
    if "cut" not in runs.columns:
        return ()
    most = {"generated_tokens": np.inf, "seconds": np.inf, "abstained": 1, "cut": 1}
    costs = []
    for (model, arm), rows in runs.filter(pl.col("cut").is_not_null()).group_by(
        "model", "arm", maintain_order=True
    ):
        values = {name: rows[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in most}
        means = [mean_over_seeds(value, confidence).within(0, most[name]) for name, value in values.items()]
        costs.append(ArmCost(str(model), str(arm), *means))
    return tuple(costs)


def matched_arms(costs: pl.DataFrame, baseline: str, confidence: float) -> tuple[MatchedArm, ...]:
    """Each arm but the baseline at equal cost, for each model and measure; `costs` has `COSTS_SCHEMA`.

    Left out where runs were not evaluated, or the cost that all reached lies before an evaluation; see
    `unmatched_arms`.
    """
    evaluated = costs.drop_nulls("accuracy")
    matched = []
    for model in evaluated["model"].unique(maintain_order=True):
        of_model = evaluated.filter(pl.col("model") == model)
        for arm in of_model["arm"].unique(maintain_order=True):
            for measure in MEASURES:
                pair = [_curves(of_model, name, measure) for name in (arm, baseline)]
                if arm != baseline and (found := _at_equal_cost(*pair)) is not None:
                    budget, of_arm, of_baseline = found
                    means = [mean_over_seeds(v, confidence) for v in (of_arm, of_arm - of_baseline)]
                    accuracy, difference = means[0].within(0, 1), means[1].within(-1, 1)
                    matched.append(MatchedArm(model, arm, baseline, measure, budget, accuracy, difference))
    return tuple(matched)


def unmatched_arms(
    costs: pl.DataFrame, baseline: str, matched: Sequence[MatchedArm]
) -> list[tuple[str, str, str]]:
    """Model, arm and measure of what `matched_arms` left out, of models with evaluations while they trained.

    Args:
        costs: of `COSTS_SCHEMA`.
        baseline: the arm that the others are compared with.
        matched: what was not left out.
    """
    evaluated = costs.drop_nulls("accuracy")["model"].unique()
    pairs = costs.filter(pl.col("model").is_in(evaluated.implode()), pl.col("arm") != baseline)
    arms = pairs.select("model", "arm").unique(maintain_order=True).rows()
    found = {(row.model, row.arm, row.measure) for row in matched}
    return [(*arm, measure) for arm in arms for measure in MEASURES if (*arm, measure) not in found]


def _curves(evaluated: pl.DataFrame, arm: str, measure: str) -> dict[int, tuple[Array, Array]]:
    """Cost and accuracy of each seed, float [evaluations] each."""
    rows = evaluated.filter(pl.col("arm") == arm).drop_nulls(measure).sort("seed", "step")
    return {
        seed: (of_seed[measure].cast(pl.Float64).to_numpy(), of_seed["accuracy"].to_numpy())
        for (seed,), of_seed in rows.group_by("seed", maintain_order=True)
    }


def _at_equal_cost(
    arm: dict[int, tuple[Array, Array]], baseline: dict[int, tuple[Array, Array]]
) -> tuple[float, Array, Array] | None:
    """The cost, and both accuracies at it for each seed, float [seeds]; None where they cannot be had."""
    if not arm or arm.keys() != baseline.keys():
        return None
    curves: Sequence[tuple[Array, Array]] = [*arm.values(), *baseline.values()]
    budget = min(float(cost[-1]) for cost, _ in curves)
    if budget < max(float(cost[0]) for cost, _ in curves):
        return None
    of_arm, of_baseline = (
        np.array([np.interp(budget, *curve) for curve in side.values()]) for side in (arm, baseline)
    )
    return budget, of_arm, of_baseline
