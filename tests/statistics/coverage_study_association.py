"""Coverage of the intervals of rank correlations over checkpoints, for the docstring of
statistics.association.

python tests/statistics/coverage_study_association.py

Two quantities at T checkpoints: a trend and a random walk each, from 64 samples and 200 problems whose own
effects are shared by all checkpoints. `signal` is the spread of the true values over checkpoints, over the
standard error of one measurement. The truth is the rank correlation of the true values.
"""

import numpy as np

from corrpo.statistics.association import rank_association
from corrpo.statistics.correlation import spearman
from corrpo.statistics.interval import half_samples

SIMULATIONS, HALVES = 300, 200


def measured(rng, truth, units, noise):
    """What is measured at each checkpoint, and over halves of the units."""
    rows = truth + rng.normal(size=(units, 1)) * noise + rng.normal(size=(units, len(truth))) * noise
    halves = half_samples(units, HALVES, rng)
    return rows.mean(0), halves @ rows / halves.sum(1, keepdims=True)


def study(points, signal, simulations=SIMULATIONS, seed=0):
    """Share of intervals that hold the true coefficient, and the mean of measured less true."""
    rng = np.random.default_rng(seed)
    inside, bias, given = 0, [], 0
    for _ in range(simulations):
        truths = []
        for _ in range(2):
            walk = np.cumsum(rng.normal(size=points)) + 0.3 * np.arange(points) * rng.normal()
            truths.append((walk - walk.mean()) / walk.std())
        (x, x_halves), (y, y_halves) = (
            measured(rng, truth * signal / np.sqrt(units), units, 1.0)
            for truth, units in zip(truths, (64, 200), strict=True)
        )
        found, true = rank_association(x, y, x_halves, y_halves), spearman(*truths)
        bias.append(abs(found.value) - abs(true))
        if found.low is not None:
            given += 1
            inside += found.low <= true <= found.high
    return inside / given, float(np.mean(bias))


def main():
    """Print the table."""
    print("checkpoints   signal 1      signal 3      signal 10   (coverage %, mean |measured| - |true|)")
    for points in (8, 15, 30):
        cells = [study(points, signal) for signal in (1, 3, 10)]
        print(f"{points:>6}   " + "".join(f"{100 * c:>8.1f} {b:+.2f}" for c, b in cells))


if __name__ == "__main__":
    main()
