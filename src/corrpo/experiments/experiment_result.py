"""Everything that an experiment reports, from its two tables: arms, changes of rho, association, verdict."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from corrpo.experiments.accuracy_against_rho import AccuracyAgainstRho, accuracy_against_rho
from corrpo.experiments.arm_difference import SeedMean, mean_over_seeds
from corrpo.experiments.recipe import ExperimentRecipe
from corrpo.experiments.result_tables import BEFORE, pass_at_k_tables, rho_changes, table_of
from corrpo.experiments.training_cost import COSTS_SCHEMA, ArmCost, MatchedArm, arm_costs, matched_arms
from corrpo.experiments.verdict import Verdict, reach_verdict
from corrpo.experiments.verdict_rules import Analysis
from corrpo.statistics.coefficients import Array

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class ArmResult:
    """One arm on one model.

    Attributes:
        model: its name.
        arm: its name; "before" for the model itself.
        accuracy: for each k of the analysis, pass@k.
        rho: after training.
        change: of rho, after less before, a mean over seeds; without an interval, as all seeds share the one
            measurement before training. None for "before", and where rho does not exist.
        change_from_baseline: the change of rho less that of the baseline, paired by seed.
        mean_tokens: mean length of the generations that were scored.
    """

    model: str
    arm: str
    accuracy: dict[int, SeedMean]
    rho: SeedMean
    change: float | None
    change_from_baseline: SeedMean
    mean_tokens: float


@dataclass(frozen=True)
class ExperimentResult:
    """The results of an experiment.

    Attributes:
        preregistration: SHA-256 of the plan.
        verdict: with all comparisons.
        arms: each arm on each model.
        association: how much of the gain goes with the change in rho.
        results: a row per run and problem.
        runs: a row per run.
        costs: a row per run and log of its training.
        arm_costs: what each arm cost; empty where that was not written down.
        matched: arms at equal cost; empty where none was evaluated while it trained.
    """

    preregistration: str
    verdict: Verdict
    arms: tuple[ArmResult, ...]
    association: AccuracyAgainstRho
    results: pl.DataFrame
    runs: pl.DataFrame
    costs: pl.DataFrame
    arm_costs: tuple[ArmCost, ...]
    matched: tuple[MatchedArm, ...]

    def as_dict(self) -> dict[str, Any]:
        """What verdict.json holds; `costs` and `matched` where there are any."""
        costs = {"costs": self.arm_costs, "matched": self.matched}
        return {
            "schema_version": SCHEMA_VERSION,
            "preregistration": self.preregistration,
            "verdict": self.verdict.as_dict(),
            "arms": [asdict(arm) for arm in self.arms],
            "association": self.association.as_dict(),
            **{name: [asdict(row) for row in rows] for name, rows in costs.items() if rows},
        }


def experiment_result(
    results: pl.DataFrame,
    runs: pl.DataFrame,
    recipe: ExperimentRecipe,
    preregistration: str,
    costs: pl.DataFrame | None = None,
) -> ExperimentResult:
    """All of an experiment whose runs are finished; an error if some are missing.

    Tables have the columns of `result_tables`; `preregistration` is the SHA-256 of the plan.
    """
    analysis, models = recipe.analysis, list(recipe.models)
    arms = [arm.name for arm in recipe.arms]
    tables = {k: pass_at_k_tables(results, models=models, arms=arms, k=k) for k in analysis.k}
    changes = {(model, arm): rho_changes(runs, model, arm) for model in models for arm in arms}
    arm_results = []
    for model in models:
        for arm in (BEFORE, *arms):
            accuracy = {
                k: _accuracy_before(results, model, k)
                if arm == BEFORE
                else tables[k][model, arm].mean(axis=1)
                for k in analysis.k
            }
            arm_results.append(_arm_result(model, arm, accuracy, changes, runs, analysis))
    first = tables[analysis.k[0]]
    association = accuracy_against_rho(
        {arm: np.concatenate([first[model, arm].mean(axis=1) for model in models]) for arm in arms},
        {arm: np.concatenate([changes[model, arm] for model in models]) for arm in arms},
        treatment=analysis.treatment,
        baseline=analysis.baseline,
        confidence=1 - analysis.alpha,
    )
    verdict = reach_verdict(results, runs, analysis, models=models)
    costs = table_of([], COSTS_SCHEMA) if costs is None else costs
    return ExperimentResult(
        preregistration,
        verdict,
        tuple(arm_results),
        association,
        results,
        runs,
        costs,
        arm_costs(runs, 1 - analysis.alpha),
        matched_arms(costs, analysis.baseline, 1 - analysis.alpha),
    )


def _arm_result(
    model: str,
    arm: str,
    accuracy: Mapping[int, Array],
    changes: Mapping[tuple[str, str], Array],
    runs: pl.DataFrame,
    analysis: Analysis,
) -> ArmResult:
    """One arm on one model, from the accuracy of each seed for each k."""
    confidence = 1 - analysis.alpha
    rows = runs.filter((pl.col("model") == model) & (pl.col("arm") == arm)).sort("seed")
    change = changes.get((model, arm), np.array([]))
    of_baseline = changes[model, analysis.baseline]
    return ArmResult(
        model=model,
        arm=arm,
        accuracy={k: mean_over_seeds(values, confidence).within(0, 1) for k, values in accuracy.items()},
        rho=mean_over_seeds(rows["rho"].fill_null(math.nan).to_numpy(), confidence).within(-1, 1),
        change=mean_over_seeds(change, confidence).value,
        change_from_baseline=mean_over_seeds(
            change - of_baseline if len(change) else change, confidence
        ).within(-4, 4),
        mean_tokens=float(rows["mean_tokens"].to_numpy().mean()),
    )


def _accuracy_before(results: pl.DataFrame, model: str, k: int) -> Array:
    """pass@k of the model before training, float [1]."""
    rows = results.filter(pl.col("arm") == BEFORE).with_columns(seed=pl.lit(0, pl.Int64))
    return pass_at_k_tables(rows, models=[model], arms=[BEFORE], k=k)[model, BEFORE].mean(axis=1)
