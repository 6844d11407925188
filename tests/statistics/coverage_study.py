"""How often the 95 % intervals hold the truth: the study behind `corrpo.statistics.interval`.

    PYTHONPATH=tests python tests/statistics/coverage_study.py [simulations] [resamples]

One line per setting. The truth is the population value where it has a formula, one simulation of 20,000
samples for the partial coefficient by position, and by token the mean of 500 independent data sets with
as many samples (by token the coefficient itself depends on how many occurrences are averaged).
"""

import sys
from dataclasses import replace

import numpy as np

from corrpo.statistics import compare, correlate
from corrpo.statistics.correlation_estimate import value_of
from corrpo.statistics.permutation import permutation_p
from corrpo.statistics.token_series import TokenSeries, check_series
from simulated_tokens import Population, gaussian_pearson, simulate

METHODS = ("spearman", "pearson", "partial_spearman")
NULLS = (("spearman", "position", 0.0), ("spearman", "token", 0.0), ("partial_spearman", "position", 1.0))


def population(method: str, by: str, rho: float) -> Population:
    base = Population(r_within=gaussian_pearson(rho))
    if by == "token":
        base = replace(base, token_share=0.3)
    return replace(base, trend=1.0) if method == "partial_spearman" else base


def estimate(series: TokenSeries, method: str, by: str) -> float:
    value, _, reason = value_of(check_series(series, method=method, by=by))
    assert value is not None, reason
    return value


def truth(drawn_from: Population, method: str, by: str, samples: int) -> float:
    rng = np.random.default_rng(2)
    if by == "token":
        return float(np.mean([estimate(simulate(drawn_from, samples, rng), method, by) for _ in range(500)]))
    if method == "partial_spearman":
        return estimate(simulate(drawn_from, 20_000, rng), method, by)
    return drawn_from.spearman if method == "spearman" else drawn_from.pearson


def coverage(
    drawn_from: Population,
    method: str,
    by: str,
    samples: int,
    simulations: int,
    resamples: int,
    target: float,
) -> tuple[float, float]:
    """Part of the intervals that hold `target`, and their mean width."""
    rng, hits, widths = np.random.default_rng(1), 0, 0.0
    for seed in range(simulations):
        s = simulate(drawn_from, samples, rng)
        result = correlate(
            s.entropy,
            s.strength,
            s.sample,
            method=method,
            by=by,
            position=s.position,
            token_id=s.token_id,
            resamples=resamples,
            permutations=0,
            seed=seed,
        )
        assert result.low is not None
        assert result.high is not None
        hits += result.low <= target <= result.high
        widths += result.high - result.low
    return hits / simulations, widths / simulations


def paired_coverage(
    r_a: float, r_b: float, samples: int, simulations: int, resamples: int
) -> tuple[float, float]:
    """The same for `compare`: two models with shared sample effects."""
    rng, hits, widths = np.random.default_rng(1), 0, 0.0
    first, second = Population(r_a, r_between=0.3), Population(r_b, r_between=0.3)
    target = second.spearman - first.spearman
    for seed in range(simulations):
        effects = int(rng.integers(1 << 62))
        a = simulate(first, samples, rng, shared=effects)
        b = simulate(second, samples, rng, shared=effects)
        result = compare(a, b, resamples=resamples, seed=seed)
        assert result.low is not None
        assert result.high is not None
        hits += result.low <= target <= result.high
        widths += result.high - result.low
    return hits / simulations, widths / simulations


def rejections(drawn_from: Population, method: str, by: str, samples: int, simulations: int) -> float:
    """Part of the permutation p-values at or below 0.05."""
    rng, hits = np.random.default_rng(1), 0
    for _ in range(simulations):
        columns = check_series(simulate(drawn_from, samples, rng), method=method, by=by)
        value, _, _ = value_of(columns)
        assert value is not None
        hits += permutation_p(columns, value, 199, rng) <= 0.05
    return hits / simulations


def main(simulations: int = 1000, resamples: int = 200) -> None:
    for samples in (10, 20, 64):
        for by in ("position", "token"):
            for method in METHODS:
                for rho in (-0.6, 0.0, 0.4):
                    drawn_from = population(method, by, rho)
                    target = truth(drawn_from, method, by, samples)
                    part, width = coverage(drawn_from, method, by, samples, simulations, resamples, target)
                    result = f"truth={target:+.3f} coverage={part:.3f} {width:.2f}"
                    print(f"{by:9s}{method:17s} G={samples:2d} {result}", flush=True)
    for samples in (10, 20, 64):
        for label, drawn_from in {
            "icc 0.6, autocorrelation 0.8": Population(-0.6, icc=0.6, autocorrelation=0.8),
            "within -0.6, between +0.6": Population(-0.6, r_between=0.6),
        }.items():
            part, width = coverage(
                drawn_from, "spearman", "position", samples, simulations, resamples, drawn_from.spearman
            )
            print(f"{label} spearman G={samples} coverage={part:.3f} {width:.2f}", flush=True)
        for r_a, r_b in ((-0.2, -0.2), (-0.2, -0.7)):
            part, width = paired_coverage(r_a, r_b, samples, simulations, resamples)
            print(f"difference {r_a} to {r_b} G={samples} coverage={part:.3f} {width:.2f}", flush=True)
    for autocorrelation in (0.0, 0.5, 0.8):
        null = Population(0.0, r_between=0.9, autocorrelation=autocorrelation)
        for method, by, trend in NULLS:
            part = rejections(replace(null, trend=trend), method, by, 20, simulations)
            print(
                f"permutation p <= 0.05, autocorrelation {autocorrelation}, {method} by {by}: {part:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
