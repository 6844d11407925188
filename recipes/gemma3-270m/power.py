"""What the experiment can find: the smallest true difference of accuracy, told before anything is run.

    python recipes/gemma3-270m/power.py [RECIPE]

RECIPE is experiment.yaml beside this file if not given. Experiments with its arms, problems and generations,
with its seeds and with five and eight, are drawn by `corrpo.experiments.simulated_experiments`, where runs
differ by 0.1 in log-odds. Told is the smallest gain of the treatment over every other arm at which 80 % of
the comparisons are significant by the rules of the verdict, to half a point. Five minutes of one core.
"""

import sys
from pathlib import Path

import numpy as np

from corrpo.experiments.arm_difference import crossed_contrast
from corrpo.experiments.comparisons import holm
from corrpo.experiments.recipe import ExperimentRecipe
from corrpo.experiments.recipe_reader import read_experiment
from corrpo.experiments.result_tables import pass_at_k_tables
from corrpo.experiments.simulated_experiments import World, draw
from corrpo.experiments.verdict_rules import Analysis

SIMULATIONS = 300
ACCURACIES = (0.1, 0.2, 0.3)
"""Without a gain."""
STEP = 0.005


def found(world: World, analysis: Analysis, simulations: int) -> float:
    """The part of the comparisons of drawn experiments that finds the treatment better."""
    arms, models = list(world.gains), [str(number) for number in range(world.models)]
    better = 0
    for number in range(simulations):
        accuracy = pass_at_k_tables(draw(world, number), models=models, arms=arms, k=1)
        means = {arm: np.mean([accuracy[model, arm] for model in models], axis=0) for arm in arms}
        contrasts = [
            crossed_contrast(means[analysis.treatment] - means[arm], confidence=1 - analysis.alpha)
            for arm in analysis.compared
        ]
        corrected = holm([contrast.p for contrast in contrasts])
        better += sum(
            p is not None and p <= analysis.alpha and contrast.value > 0
            for p, contrast in zip(corrected, contrasts, strict=True)
        )
    return better / (simulations * len(analysis.compared))


def smallest_found(recipe: ExperimentRecipe, accuracy: float, seeds: int, simulations: int) -> float:
    """The smallest gain that is found with the power of the analysis, by halving, to `STEP`."""
    none, many = 0, round((1 - accuracy) / STEP) - 1
    while many - none > 1:
        middle = (none + many) // 2
        gains = {arm.name: 0.0 for arm in recipe.arms} | {recipe.analysis.treatment: middle * STEP}
        world = World(
            gains,
            accuracy=accuracy,
            models=len(recipe.models),
            seeds=seeds,
            problems=recipe.evaluation.problems or World.problems,
            generations=recipe.evaluation.n or 1,
        )
        is_enough = found(world, recipe.analysis, simulations) >= recipe.analysis.power
        none, many = (none, middle) if is_enough else (middle, many)
    return many * STEP


def main() -> None:
    """Print a line for each number of seeds."""
    recipe = read_experiment(
        Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).with_name("experiment.yaml")
    )
    print("solved without a gain   ", *(f"{accuracy:7.0%}" for accuracy in ACCURACIES))
    for seeds in dict.fromkeys((len(recipe.seeds), 5, 8)):
        gains = (smallest_found(recipe, accuracy, seeds, SIMULATIONS) for accuracy in ACCURACIES)
        print(f"{seeds} seeds find, in points ", *(f"{100 * gain:7.1f}" for gain in gains), flush=True)


if __name__ == "__main__":
    main()
