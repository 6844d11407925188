"""How often the 95 % intervals of accuracies hold the truth: for `statistics/accuracy_estimate.py`.

    python tests/statistics/coverage_study_estimates.py [simulations]

Each problem has a chance of being solved, drawn from a Beta distribution; the truth is the mean over all such
problems. Easy: Beta(8, 2); hard: Beta(0.3, 6), mostly never solved; split: Beta(0.3, 0.3), mostly all or
nothing. In the vote, wrong generations give one of `WRONG` answers at random.
"""

import sys

import numpy as np

from corrpo.statistics.accuracy_estimate import estimate_mean, pass_at_k

CHANCES = {"easy": (8, 2), "hard": (0.3, 6), "split": (0.3, 0.3)}
MEASURES = ((1, "pass@1"), (4, "pass@1"), (16, "pass@1"), (16, "pass@4"), (16, "pass@16"), (16, "majority"))
WRONG = 4
MANY = 400_000
"""Problems that the truth is the mean over."""


def values(rng, chances, n, measure):
    """The measure of each problem, float [problems], from n generations at its chance, float [problems]."""
    counts = rng.binomial(n, chances)
    if measure != "majority":
        k = int(measure.removeprefix("pass@"))
        return np.array([pass_at_k(n, c, k) for c in range(n + 1)])[counts]
    wrong = rng.multinomial(n - counts, [1 / WRONG] * WRONG)
    most = np.maximum(counts, wrong.max(axis=1))
    return (counts == most) / ((counts == most) + (wrong == most[:, None]).sum(axis=1))


def coverage(chances, problems, n, measure, simulations, seed=0):
    """The part of simulations whose 95 % interval holds the mean over all problems of this kind."""
    rng = np.random.default_rng(seed)
    truth = values(rng, rng.beta(*CHANCES[chances], MANY), n, measure).mean()
    inside = 0
    for _ in range(simulations):
        drawn = values(rng, rng.beta(*CHANCES[chances], problems), n, measure)
        result = estimate_mean(drawn.tolist(), n * problems)
        inside += result.low <= truth <= result.high
    return inside / simulations


def main(simulations=2000):
    """Print the table."""
    print(" " * 18 + "".join(f"{f'n={n}':>10}" for n, _ in MEASURES))
    print(" " * 18 + "".join(f"{measure:>10}" for _, measure in MEASURES))
    for chances in CHANCES:
        for problems in (30, 100, 500):
            cells = [coverage(chances, problems, n, measure, simulations) for n, measure in MEASURES]
            print(
                f"{chances:<8}{problems:>3} problems" + "".join(f"{100 * c:>10.1f}" for c in cells),
                flush=True,
            )


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
