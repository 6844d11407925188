"""The two tables of an experiment: results.parquet (of runs and problems) and runs.parquet (of runs)."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from corrpo.errors import BadInputError
from corrpo.statistics.accuracy_estimate import pass_at_k
from corrpo.statistics.coefficients import Array

RESULTS, RUNS = "results.parquet", "runs.parquet"
BEFORE = "before"
"""The arm of a model that was not trained; its seed is null."""
RESULTS_SCHEMA: dict[str, Any] = {
    "model": pl.String,
    "arm": pl.String,
    "seed": pl.Int64,
    "problem": pl.String,
    "generations": pl.Int64,
    "correct": pl.Int64,
    "preregistration": pl.String,
}
"""generations and how many of them are right; preregistration is the SHA-256 of the plan."""
RUNS_SCHEMA: dict[str, Any] = {
    "model": pl.String,
    "arm": pl.String,
    "seed": pl.Int64,
    **dict.fromkeys(("rho_before", "rho_before_low", "rho_before_high"), pl.Float64),
    **dict.fromkeys(("rho", "rho_low", "rho_high"), pl.Float64),
    "mean_tokens": pl.Float64,
    **dict.fromkeys(("abstained", "cut"), pl.Float64),
    "generated_tokens": pl.Int64,
    "seconds": pl.Float64,
    "preregistration": pl.String,
}
"""Spearman's rho of a run's model before and after, with intervals over samples; the mean length of the
generations that were scored, and the parts of them that ended without an answer or did not end; tokens and
seconds of training (null before training, and where they were not written down)."""


def pass_at_k_tables(
    results: pl.DataFrame, *, models: Sequence[str], arms: Sequence[str], k: int
) -> dict[tuple[str, str], Array]:
    """pass@k of every run and problem, float [seeds, problems] for each of these models and arms.

    Seeds and problems are in the same order for all. An error where a run is missing, was asked other
    problems than the others, or has a problem with fewer than k generations.
    """
    wanted = results.filter(pl.col("arm").is_in(list(arms)) & pl.col("model").is_in(list(models)))
    counted = wanted.select("generations", "correct").unique()
    values = {(n, correct): pass_at_k(n, correct, k) for n, correct in counted.iter_rows()}
    if any(np.isnan(value) for value in values.values()):
        fewest = min(n for n, _ in values)
        raise BadInputError(f"pass@{k}: a problem has {fewest} generations; expected {k} or more for each")
    wanted = wanted.with_columns(
        pl.Series("value", [values[pair] for pair in wanted.select("generations", "correct").iter_rows()])
    ).sort("seed", "problem")
    seeds = wanted["seed"].unique().sort().to_list()
    problems = wanted["problem"].unique().sort().to_list()
    expected = [(seed, problem) for seed in seeds for problem in problems]
    tables = {}
    for model in models:
        for arm in arms:
            part = wanted.filter((pl.col("model") == model) & (pl.col("arm") == arm))
            if not expected or part.select("seed", "problem").rows() != expected:
                raise BadInputError(
                    f"the results of {arm} on {model} are not those of seeds {seeds} on the same problems as "
                    "the other arms, each once: all runs must be finished"
                )
            tables[model, arm] = part["value"].to_numpy().reshape(len(seeds), -1)
    return tables


def rho_changes(runs: pl.DataFrame, model: str, arm: str) -> Array:
    """rho after training less rho before, float [seeds] in order of the seeds; NaN where one is missing."""
    part = runs.filter((pl.col("model") == model) & (pl.col("arm") == arm)).sort("seed")
    after, before = (part[name].fill_null(math.nan).to_numpy() for name in ("rho", "rho_before"))
    return after - before


def table_of(rows: Iterable[Mapping[str, Any]], schema: Mapping[str, Any]) -> pl.DataFrame:
    """Rows as a table of a schema of this module, in the order of models, arms and seeds as given."""
    return pl.DataFrame(list(rows), schema=dict(schema))
