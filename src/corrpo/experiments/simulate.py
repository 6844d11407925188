"""Simulated experiments with known effects: how often each verdict comes out.

A problem has a log-odds of being solved; an arm adds its effect, a run (arm, seed, model) a shift of its own,
and an arm and problem a shift that all seeds share; generations are drawn from that chance. Effects are given
as differences in accuracy and turned into log-odds so that the mean over problems moves by as much.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from corrpo.experiments.analysis import Analysis
from corrpo.experiments.results import RESULTS_SCHEMA
from corrpo.experiments.verdict import Kind, reach_verdict

KINDS: tuple[Kind, ...] = ("supported", "not supported", "undecided")


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
        results = draw(world, seed * 1_000_003 + number)
        counts[reach_verdict(results, analysis, models=models).kind] += 1
    return {kind: count / simulations for kind, count in counts.items()}
