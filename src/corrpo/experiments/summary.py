"""Everything that an experiment reports, from its two tables: arms, changes of rho, association, verdict."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from corrpo.experiments.accompaniment import Accompaniment, accompaniment
from corrpo.experiments.contrasts import Mean, mean_over_seeds
from corrpo.experiments.recipe import ExperimentRecipe
from corrpo.experiments.results import BEFORE, outcomes, rho_changes
from corrpo.experiments.verdict import Verdict, reach_verdict
from corrpo.statistics.coefficients import Array

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class ArmSummary:
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
    accuracy: dict[int, Mean]
    rho: Mean
    change: float | None
    change_from_baseline: Mean
    mean_tokens: float


@dataclass(frozen=True)
class Experiment:
    """The results of an experiment.

    Attributes:
        preregistration: SHA-256 of the plan.
        verdict: with all comparisons.
        arms: each arm on each model.
        association: how much of the gain goes with the change in rho.
        results: a row per run and problem.
        runs: a row per run.
    """

    preregistration: str
    verdict: Verdict
    arms: tuple[ArmSummary, ...]
    association: Accompaniment
    results: pl.DataFrame
    runs: pl.DataFrame

    def as_dict(self) -> dict[str, Any]:
        """What verdict.json holds."""
        return {
            "schema_version": SCHEMA_VERSION,
            "preregistration": self.preregistration,
            "verdict": self.verdict.as_dict(),
            "arms": [asdict(each) for each in self.arms],
            "association": self.association.as_dict(),
        }


def summarise(
    results: pl.DataFrame, runs: pl.DataFrame, recipe: ExperimentRecipe, preregistration: str
) -> Experiment:
    """The whole of an experiment whose runs are all finished.

    Raises:
        BadInputError: runs are missing.
    """
    analysis, models = recipe.analysis, list(recipe.models)
    names = [arm.name for arm in recipe.arms]
    tables = {k: outcomes(results, models=models, arms=names, k=k) for k in analysis.k}
    first = tables[analysis.k[0]]
    changes = {(model, arm): rho_changes(runs, model, arm) for model in models for arm in names}
    confidence = 1 - analysis.alpha
    summaries = []
    for model in models:
        base = changes[model, analysis.baseline]
        for arm in (BEFORE, *names):
            part = runs.filter((pl.col("model") == model) & (pl.col("arm") == arm)).sort("seed")
            change = changes.get((model, arm), np.array([]))
            accuracy = {
                k: mean_over_seeds(
                    _before(results, model, k) if arm == BEFORE else tables[k][model, arm].mean(axis=1),
                    confidence,
                )
                for k in analysis.k
            }
            summaries.append(
                ArmSummary(
                    model,
                    arm,
                    accuracy,
                    mean_over_seeds(part["rho"].fill_null(math.nan).to_numpy(), confidence),
                    mean_over_seeds(change, confidence).value,
                    mean_over_seeds(change - base if len(change) else change, confidence),
                    float(part["mean_tokens"].to_numpy().mean()),
                )
            )
    association = accompaniment(
        {arm: np.concatenate([first[model, arm].mean(axis=1) for model in models]) for arm in names},
        {arm: np.concatenate([changes[model, arm] for model in models]) for arm in names},
        treatment=analysis.treatment,
        baseline=analysis.baseline,
        confidence=confidence,
    )
    verdict = reach_verdict(results, runs, analysis, models=models)
    return Experiment(preregistration, verdict, tuple(summaries), association, results, runs)


def _before(results: pl.DataFrame, model: str, k: int) -> Array:
    part = results.filter(pl.col("arm") == BEFORE).with_columns(seed=pl.lit(0, pl.Int64))
    return outcomes(part, models=[model], arms=[BEFORE], k=k)[model, BEFORE].mean(axis=1)
