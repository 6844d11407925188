"""How often the intervals of corrpo.experiments.contrasts hold the truth, against two that were not used.

    python tests/experiments/coverage_study_contrasts.py

prints the table of that module's docstring.
"""

import numpy as np
from scipy import stats

from corrpo.experiments.contrasts import crossed

SEEDS, PROBLEMS, REST, SIMULATIONS, DRAWS = 5, 200, 0.4, 2000, 400
CELLS = [(0.0, 0.0), (0.02, 0.0), (0.05, 0.0), (0.0, 0.15), (0.02, 0.15), (0.05, 0.15), (0.05, 0.3)]


def tables(rng, seed_sd, problem_sd):
    """Tables of differences, seeds by problems, whose true mean is 0."""
    shape = (SIMULATIONS, SEEDS, PROBLEMS)
    found = rng.normal(0, REST, shape)
    found += rng.normal(0, seed_sd, (SIMULATIONS, SEEDS, 1))
    return found + rng.normal(0, problem_sd, (SIMULATIONS, 1, PROBLEMS))


def by_seed_means(table):
    """t over the means of the seeds."""
    means = table.mean(axis=1)
    half = stats.t.ppf(0.975, SEEDS - 1) * means.std(ddof=1) / np.sqrt(SEEDS)
    return means.mean() - half, means.mean() + half


def bootstrap(rng, table):
    """Percentiles of means of tables whose seeds and problems were drawn with repeats."""
    seeds = rng.multinomial(SEEDS, [1 / SEEDS] * SEEDS, DRAWS) / SEEDS
    problems = rng.multinomial(PROBLEMS, [1 / PROBLEMS] * PROBLEMS, DRAWS) / PROBLEMS
    return tuple(np.percentile(((seeds @ table) * problems).sum(axis=1), [2.5, 97.5]))


def held(interval):
    return interval[0] <= 0 <= interval[1]


def main():
    print("    seeds  problems     crossed t   t of seeds    bootstrap")
    for seed_sd, problem_sd in CELLS:
        rng = np.random.default_rng(0)
        counts = np.zeros(3)
        for table in tables(rng, seed_sd, problem_sd):
            contrast = crossed(table)
            ways = [(contrast.low, contrast.high), by_seed_means(table), bootstrap(rng, table)]
            counts += [held(way) for way in ways]
        shown = "".join(f"{100 * each / SIMULATIONS:13.1f}" for each in counts)
        print(f"    {seed_sd:5.2f}  {problem_sd:8.2f} {shown}", flush=True)


if __name__ == "__main__":
    main()
