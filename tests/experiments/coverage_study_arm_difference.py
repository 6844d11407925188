"""How often the intervals of experiments.arm_difference hold the truth, against two that were not used.

    python tests/experiments/coverage_study_arm_difference.py

prints the table of that module's docstring.
"""

from functools import partial

import numpy as np
from scipy import stats

from corrpo.experiments.arm_difference import crossed_contrast

SEEDS, PROBLEMS, REST, SIMULATIONS, DRAWS = (2, 3, 5, 8), 200, 0.4, 2000, 400
OTHERS = 5
"""Seeds for which the other two are tried as well."""
CELLS = [
    (0.0, 0.0),
    (0.02, 0.0),
    (0.05, 0.0),
    (0.0, 0.15),
    (0.02, 0.15),
    (0.05, 0.15),
    (0.05, 0.3),
    (0.2, 0.4),
]


def tables(rng, seeds, seed_sd, problem_sd):
    """Tables of differences, seeds by problems, whose true mean is 0."""
    shape = (SIMULATIONS, seeds, PROBLEMS)
    drawn = rng.normal(0, REST, shape)
    drawn += rng.normal(0, seed_sd, (SIMULATIONS, seeds, 1))
    return drawn + rng.normal(0, problem_sd, (SIMULATIONS, 1, PROBLEMS))


def by_seed_means(table):
    """t over the means of the seeds."""
    means = table.mean(axis=1)
    half = stats.t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means))
    return means.mean() - half, means.mean() + half


def bootstrap(table, rng):
    """Percentiles of means of tables whose seeds and problems were drawn with repeats."""
    count = len(table)
    seeds = rng.multinomial(count, [1 / count] * count, DRAWS) / count
    problems = rng.multinomial(PROBLEMS, [1 / PROBLEMS] * PROBLEMS, DRAWS) / PROBLEMS
    return tuple(np.percentile(((seeds @ table) * problems).sum(axis=1), [2.5, 97.5]))


def crossed_interval(table):
    contrast = crossed_contrast(table)
    return contrast.low, contrast.high


def coverage(drawn, way):
    """In percent."""
    held = [low <= 0 <= high for low, high in map(way, drawn)]
    return 100 * np.mean(held)


def main():
    names = [f"{count} seeds" for count in SEEDS]
    print("    sd: seeds  problems " + "".join(f"{name:>10}" for name in [*names, "t of 5", "boot. 5"]))
    for seed_sd, problem_sd in CELLS:
        rng = np.random.default_rng(0)
        drawn = {count: tables(rng, count, seed_sd, problem_sd) for count in SEEDS}
        coverages = [coverage(drawn[count], crossed_interval) for count in SEEDS]
        coverages.append(coverage(drawn[OTHERS], by_seed_means))
        coverages.append(coverage(drawn[OTHERS], partial(bootstrap, rng=rng)))
        shown = "".join(f"{percent:10.1f}" for percent in coverages)
        print(f"    {seed_sd:9.2f}  {problem_sd:8.2f} {shown}", flush=True)


if __name__ == "__main__":
    main()
