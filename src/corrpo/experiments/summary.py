"""Everything that an experiment reports, from its two tables: arms, changes of rho, association, verdict."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from corrpo.experiments.association import Accompaniment, accompaniment
from corrpo.experiments.recipe import ExperimentRecipe
from corrpo.experiments.results import BEFORE, outcomes
from corrpo.experiments.verdict import Verdict, reach_verdict
from corrpo.statistics.correlation import Array

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Mean:
    """A mean over seeds with its t interval: of the seeds alone, for the same problems and prompts.

    `low` and `high` are None for one seed; `value` is None where nothing was found.
    """

    value: float | None
    low: float | None
    high: float | None
    n_seeds: int


@dataclass(frozen=True)
class ArmSummary:
    """One arm on one model.

    Attributes:
        model: its name.
        arm: its name; "before" for the model itself.
        accuracy: for each k of the analysis, pass@k.
        rho: after training.
        change: of rho, after less before.
        change_from_baseline: the change of rho less that of the baseline, paired by seed.
        mean_tokens: mean length of the generations that were scored.
    """

    model: str
    arm: str
    accuracy: dict[int, Mean]
    rho: Mean
    change: Mean
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
    seeds = sorted(recipe.seeds)
    tables = {k: outcomes(results, models=models, arms=names, k=k) for k in analysis.k}
    first = tables[analysis.k[0]]
    changes = {(model, arm): _changes(runs, model, arm, seeds) for model in models for arm in names}
    confidence = 1 - analysis.alpha
    summaries = []
    for model in models:
        base = changes[model, analysis.baseline]
        for arm in (BEFORE, *names):
            part = runs.filter((pl.col("model") == model) & (pl.col("arm") == arm)).sort("seed")
            change = changes.get((model, arm), np.array([]))
            accuracy = {
                k: _mean(
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
                    _mean(_floats(part["rho"]), confidence),
                    _mean(change, confidence),
                    _mean(change - base if len(change) else change, confidence),
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
    verdict = reach_verdict(results, analysis, models=models)
    return Experiment(preregistration, verdict, tuple(summaries), association, results, runs)


def _before(results: pl.DataFrame, model: str, k: int) -> Array:
    part = results.filter(pl.col("arm") == BEFORE).with_columns(seed=pl.lit(0, pl.Int64))
    return outcomes(part, models=[model], arms=[BEFORE], k=k)[model, BEFORE].mean(axis=1)


def _changes(runs: pl.DataFrame, model: str, arm: str, seeds: Sequence[int]) -> Array:
    """rho after less before, float [seeds]; NaN where one does not exist."""
    part = runs.filter((pl.col("model") == model) & (pl.col("arm") == arm)).sort("seed")
    assert part["seed"].to_list() == list(seeds)
    return _floats(part["rho"]) - _floats(part["rho_before"])


def _floats(column: pl.Series) -> Array:
    return column.cast(pl.Float64).fill_null(math.nan).to_numpy()


def _mean(values: Array, confidence: float) -> Mean:
    """Over the seeds that have a value."""
    found = values[np.isfinite(values)]
    if not len(found):
        return Mean(None, None, None, 0)
    value = float(found.mean())
    if len(found) == 1:
        return Mean(value, None, None, 1)
    quantile = float(stats.t.ppf((1 + confidence) / 2, len(found) - 1))
    half = quantile * float(found.std(ddof=1)) / math.sqrt(len(found))
    return Mean(value, value - half, value + half, len(found))
