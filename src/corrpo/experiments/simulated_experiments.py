"""Simulated experiments with known effects: how often each verdict comes out.

A problem has a log-odds of being solved; an arm adds its effect, a run (arm, seed, model) a shift of its own,
and an arm and problem a shift that all seeds share; generations are drawn from that chance. Effects are given
as differences in accuracy and turned into log-odds so that the mean over problems moves by as much.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
import polars as pl

from corrpo.experiments.result_tables import RESULTS_SCHEMA, RUNS_SCHEMA, table_of
from corrpo.experiments.verdict import reach_verdict
from corrpo.experiments.verdict_rules import Analysis, Kind

KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class World:
    """What an experiment is drawn from.

    Attributes:
        gains: for each arm, what it truly adds to the accuracy.
        accuracy: without a gain.
        models: of them.
        seeds: of each model and arm.
        problems: held out.
        generations: of each problem.
        spread: standard deviation of the log-odds over problems.
        run_spread: of a run's shift of the log-odds.
        problem_spread: of an arm's shift on a problem.
        rho: for each arm, its true change of rho over training; none for an arm that is left out.
        rho_spread: standard deviation of a run's rho about that.
    """

    gains: Mapping[str, float]
    accuracy: float = 0.6
    models: int = 2
    seeds: int = 5
    problems: int = 200
    generations: int = 4
    spread: float = 1.5
    run_spread: float = 0.1
    problem_spread: float = 0.3
    rho: Mapping[str, float] = field(default_factory=lambda: {"corrpo": -0.1})
    rho_spread: float = 0.03


def draw(world: World, seed: int) -> pl.DataFrame:
    """The results of one experiment, in the columns of `RESULTS_SCHEMA`; models are "0", "1" and so on."""
    rng = np.random.default_rng(seed)
    shape = world.models, world.seeds, world.problems
    easy = rng.normal(0, world.spread, world.problems)
    parts = []
    for arm, gain in world.gains.items():
        odds = easy + _log_odds(world, world.accuracy + gain)
        odds = odds + rng.normal(0, world.problem_spread, (world.models, 1, world.problems))
        odds = odds + rng.normal(0, world.run_spread, (world.models, world.seeds, 1))
        correct = rng.binomial(world.generations, 1 / (1 + np.exp(-odds)))
        model, number, problem = np.indices(shape).reshape(3, -1)
        parts.append(
            pl.DataFrame(
                {
                    "model": model.astype(str),
                    "arm": [arm] * model.size,
                    "seed": number,
                    "problem": problem.astype(str),
                    "generations": [world.generations] * model.size,
                    "correct": correct.reshape(-1),
                    "preregistration": ["simulated"] * model.size,
                },
                schema=RESULTS_SCHEMA,
            )
        )
    return pl.concat(parts)


def draw_runs(world: World, seed: int) -> pl.DataFrame:
    """The runs of the same experiment, in the columns of `RUNS_SCHEMA`; rho was 0 before training."""
    rng = np.random.default_rng((seed, 1))
    rows = [
        {"model": str(model), "arm": arm, "seed": number, "rho_before": 0.0}
        | {"rho": world.rho.get(arm, 0.0) + rng.normal(0, world.rho_spread)}
        for arm in world.gains
        for model in range(world.models)
        for number in range(world.seeds)
    ]
    return table_of(rows, RUNS_SCHEMA)


def _log_odds(world: World, accuracy: float) -> float:
    """The mean log-odds at which the mean chance over all problems and runs is `accuracy`."""
    total = np.sqrt(world.spread**2 + world.run_spread**2 + world.problem_spread**2)
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        mean = float((weights / (1 + np.exp(-(middle + total * nodes)))).sum() / weights.sum())
        low, high = (middle, high) if mean < accuracy else (low, middle)
    return (low + high) / 2


def verdict_rates(world: World, analysis: Analysis, *, simulations: int, seed: int = 0) -> dict[Kind, float]:
    """The part of simulated experiments that comes out in each of `KINDS`."""
    models = [str(number) for number in range(world.models)]
    counts = dict.fromkeys(KINDS, 0)
    for number in range(simulations):
        drawn = seed * 1_000_003 + number
        verdict = reach_verdict(draw(world, drawn), draw_runs(world, drawn), analysis, models=models)
        counts[verdict.kind] += 1
    return {kind: count / simulations for kind, count in counts.items()}
