"""How often the intervals of rank correlations over checkpoints hold the truth: the study behind
`corrpo.statistics.checkpoint_association`.

    python tests/statistics/coverage_study_association.py [simulations]

Two quantities at T checkpoints, from 64 samples and 200 problems whose own effects all checkpoints share. The
true values are random walks with a trend: independent ones, or related ones (0.8 of the other, 0.6 of their
own). `signal` is the spread of the true values over checkpoints by the standard error of one measurement. The
truth is the rank correlation of the true values.
"""

import sys
from unittest.mock import patch

import numpy as np

from corrpo.statistics.checkpoint_association import rank_association
from corrpo.statistics.interval import half_samples

SAMPLES, PROBLEMS, HALVES = 64, 200, 200


def true_values(rng, points, related):
    """Two quantities over checkpoints, each of mean 0 and standard deviation 1: float [T] each."""
    first, own = (_standardised(_walk(rng, points)) for _ in range(2))
    return first, _standardised(0.8 * first + 0.6 * own) if related else own


def _walk(rng, points):
    return np.cumsum(rng.normal(size=points)) + 0.3 * np.arange(points) * rng.normal()


def _standardised(values):
    return (values - values.mean()) / values.std()


def measured(rng, truth, signal, units, halves=HALVES):
    """What is measured at each checkpoint, float [T], and over halves of the units, float [B, T]."""
    effects = rng.normal(size=(units, 1)) + rng.normal(size=(units, len(truth)))
    rows = truth * signal / np.sqrt(units) + effects
    drawn = half_samples(units, halves, rng)
    return rows.mean(axis=0), drawn @ rows / drawn.sum(axis=1, keepdims=True)


def study(points, signal, *, related=False, given_step=False, simulations=1000, seed=0):
    """Parts of the intervals that hold the truth, as they are and without attenuation, their mean width,
    and the mean of |measured| less |true|."""
    rng = np.random.default_rng(seed)
    steps = np.arange(points, dtype=float) if given_step else None
    inside, plainly, widths, bias = [], [], [], []
    for _ in range(simulations):
        truths = true_values(rng, points, related)
        (x, x_halves), (y, y_halves) = (
            measured(rng, truth, signal, units)
            for truth, units in zip(truths, (SAMPLES, PROBLEMS), strict=True)
        )
        exact = rank_association(*truths, truths[0][None], truths[1][None], steps=steps).value
        result = rank_association(x, y, x_halves, y_halves, steps=steps)
        if exact is None or result.low is None:
            continue  # with the step held constant, some true values leave nothing to correlate
        inside.append(result.low - 1e-9 <= exact <= result.high + 1e-9)
        with patch(
            "corrpo.statistics.checkpoint_association._without_error", lambda value, attenuation: value
        ):
            plain = rank_association(x, y, x_halves, y_halves, steps=steps)
        plainly.append(plain.low - 1e-9 <= exact <= plain.high + 1e-9)
        widths.append(result.high - result.low)
        bias.append(abs(result.value) - abs(exact))
    return tuple(float(np.mean(values)) for values in (inside, plainly, widths, bias))


def main(simulations=1000):
    """Print the table: coverage (without attenuation), and the mean of |measured| less |true|."""
    for related in (False, True):
        for given_step in (False, True):
            print("related" if related else "independent", "given the step" if given_step else "", flush=True)
            for points in (8, 15, 30):
                cells = []
                for signal in (1, 3, 10):
                    inside, plainly, width, bias = study(
                        points, signal, related=related, given_step=given_step, simulations=simulations
                    )
                    cells.append(f"{100 * inside:.0f} % ({100 * plainly:.0f} %) {bias:+.2f} w {width:.2f}")
                print(f"{points:>8}     " + "     ".join(cells), flush=True)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
