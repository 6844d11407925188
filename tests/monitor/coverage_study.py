"""How often the 95 % interval of a window's rho holds the truth: the study behind docs/MONITOR.md.

    python tests/monitor/coverage_study.py [simulations]

Two normal series with one autocorrelation and a correlation of their innovations; the truth is the rho of the
process. A cell is the coverage and the mean width; windows without an interval are left out.
"""

import sys

import numpy as np
from scipy.signal import lfilter

from corrpo.monitor.running_rho import series_interval
from corrpo.statistics.coefficients import midranks, spearman


def series(rng: np.random.Generator, r: float, persistence: float, n: int) -> np.ndarray:
    noise = rng.normal(size=(2, n + 200))
    noise[1] = r * noise[0] + np.sqrt(1 - r * r) * noise[1]
    return lfilter([np.sqrt(1 - persistence**2)], [1, -persistence], noise, axis=1)[:, 200:]


def cell(rng: np.random.Generator, r: float, persistence: float, n: int, simulations: int) -> str:
    truth, held, widths = 6 / np.pi * np.arcsin(r / 2), 0, []
    for _ in range(simulations):
        x, y = series(rng, r, persistence, n)
        low, high = series_interval(spearman(x, y), midranks(x), midranks(y))
        if low is not None and high is not None:
            held += low <= truth <= high
            widths.append(high - low)
    return f"{held / len(widths):.2f} ({np.mean(widths):.2f})"


def main() -> None:
    simulations = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    rng, correlations = np.random.default_rng(0), (0.0, -0.3, -0.6, 0.4, 0.8)
    print("tokens", "autocorrelation", *(f"r={r}" for r in correlations), sep="\t")
    for n in (8, 16, 32, 64, 128, 512):
        for persistence in (0.0, 0.3, 0.6, 0.9):
            cells = [cell(rng, r, persistence, n, simulations) for r in correlations]
            print(n, persistence, *cells, sep="\t", flush=True)


if __name__ == "__main__":
    main()
