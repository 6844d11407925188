"""Coverage of the intervals of accuracies: prints the table in the docstring of corrpo.statistics.estimates.

python tests/statistics/coverage_study_estimates.py

Each problem has a chance of being solved, drawn from a Beta distribution; the truth is the mean over all such
problems. Easy: Beta(8, 2); hard: Beta(0.3, 6), mostly never solved; split: Beta(0.3, 0.3), mostly all or
nothing.
"""

import numpy as np
from scipy.special import betaln

from corrpo.statistics.estimates import estimate_mean, pass_at_k

CHANCES = {"easy": (8, 2), "hard": (0.3, 6), "split": (0.3, 0.3)}
SIMULATIONS = 2000


def coverage(a: float, b: float, problems: int, n: int, k: int, simulations: int, seed: int = 0) -> float:
    """The share of simulations whose 95 % interval holds the expected pass@k over problems."""
    rng = np.random.default_rng(seed)
    truth = 1 - np.exp(betaln(a, b + k) - betaln(a, b))  # E[1 - (1 - p)^k]
    of_count = np.array([pass_at_k(n, c, k) for c in range(n + 1)])
    inside = 0
    for _ in range(simulations):
        counts = rng.binomial(n, rng.beta(a, b, problems))
        found = estimate_mean(of_count[counts], n * problems)
        inside += found.low <= truth <= found.high
    return inside / simulations


def main() -> None:
    """Print the table."""
    columns = [(1, 1), (4, 1), (16, 1), (16, 4), (16, 16)]
    print(f"{'':<22}" + "".join(f"n={n}, pass@{k}".rjust(15) for n, k in columns))
    for name, (a, b) in CHANCES.items():
        for problems in (30, 100, 500):
            cells = [coverage(a, b, problems, n, k, SIMULATIONS) for n, k in columns]
            print(f"{name:<8}{problems:>4} problems " + "".join(f"{100 * c:.1f}".rjust(15) for c in cells))


if __name__ == "__main__":
    main()
