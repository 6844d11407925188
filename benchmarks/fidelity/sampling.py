"""Exact strengths of a few tokens of each rollout: what its rho is worth to a reward, alone and beside `own`.

    python benchmarks/fidelity/sampling.py FILE...      (Parquet files of rollouts.py)

Of every rollout some tokens are drawn, one from each of equal stretches, as `inversion_max_tokens` draws
them. With a sample S and rho_S for Spearman over S alone:

- exact on S: rho_S by exact;
- corrected: the rho of own over all tokens, plus rho_S by exact less rho_S by own (two-phase sampling: the
  difference estimator of the rank covariance);
- corrected by the batch: the same with the correction averaged over all rollouts, which moves the mean alone;
- corrected, shrunk: the corrections moved towards their mean by the share of their variance that is noise,
  which the covariance of the corrections from two halves of each sample tells.

Shown, over several draws: Spearman with the rhos by exact over all tokens, within groups, and the mean shift.
"""

import sys
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import rankdata
from table import MIN_TOKENS
from tokens import KEYS

from common import heading, table
from corrpo.samples.token_sampling import stratified_positions

SIZES = (8, 16, 24, 32)
DRAWS = 20
OWN = "own, q o, upper half"
Rollouts = list[dict[str, NDArray[np.float64]]]


def spearman(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Spearman's rho; 0 where one of the two is constant."""
    ranks = rankdata(x), rankdata(y)
    return float(np.corrcoef(*ranks)[0, 1]) if np.ptp(ranks[0]) and np.ptp(ranks[1]) else 0.0


def read(path: Path) -> tuple[Rollouts, NDArray[np.int64]]:
    """The tokens of each rollout that is long enough, and the number of its group."""
    parts = pl.read_parquet(path).partition_by(KEYS[:2], maintain_order=True)
    kept = [part for part in parts if part.height >= MIN_TOKENS]
    columns = ("entropy", "exact", OWN)
    rollouts = [{name: part[name].to_numpy().astype(float) for name in columns} for part in kept]
    return rollouts, np.array([part["group"][0] for part in kept])


def within(values: NDArray[np.float64], truth: NDArray[np.float64], groups: NDArray[np.int64]) -> float:
    """Spearman of the deviations from the mean of the group."""
    means = [[of[groups == group].mean() for group in groups] for of in (values, truth)]
    return spearman(values - means[0], truth - means[1])


def drawn(rollouts: Rollouts, size: int, draw: int) -> dict[str, NDArray[np.float64]]:
    """The rho of every rollout by each way, for one draw of tokens."""
    own = np.array([spearman(r["entropy"], r[OWN]) for r in rollouts])
    sampled, halves = [], []
    for number, r in enumerate(rollouts):
        at = np.array(stratified_positions(len(r["entropy"]), size, draw, f"rollout {number}"))
        sampled.append([spearman(r["entropy"][at], r[name][at]) for name in ("exact", OWN)])
        halves.append([_correction(r, half) for half in (at[::2], at[1::2])])
    exact, own_of_sample = np.array(sampled).T
    correction = exact - own_of_sample
    first, second = np.array(halves).T
    signal = np.clip(np.cov(first, second)[0, 1] / correction.var(), 0, 1)
    return {
        "exact on S": exact,
        "own, corrected": own + correction,
        "own, corrected by the batch": own + correction.mean(),
        "own, corrected, shrunk": own + correction.mean() + signal * (correction - correction.mean()),
    }


def _correction(rollout: dict[str, NDArray[np.float64]], at: NDArray[np.int64]) -> float:
    """rho over the tokens `at` by exact less that by own."""
    entropy = rollout["entropy"][at]
    return spearman(entropy, rollout["exact"][at]) - spearman(entropy, rollout[OWN][at])


def rows(rollouts: Rollouts, groups: NDArray[np.int64]) -> list[list[str]]:
    """A row for `own`, and one per size of the sample and way."""
    truth = np.array([spearman(r["entropy"], r["exact"]) for r in rollouts])
    own = np.array([spearman(r["entropy"], r[OWN]) for r in rollouts])

    def row(size: str, name: str, found: list[NDArray[np.float64]]) -> list[str]:
        agreement = np.mean([within(values, truth, groups) for values in found])
        shifts = [np.mean(values - truth) for values in found]
        return [size, name, f"{agreement:.2f}", f"{np.mean(shifts):+.3f}", f"{np.std(shifts):.3f}"]

    made = [row("all", OWN, [own])]
    for size in SIZES:
        draws = [drawn(rollouts, size, draw) for draw in range(DRAWS)]
        made += [row(f"{size}", name, [one[name] for one in draws]) for name in draws[0]]
    return made


def main() -> None:
    """Print a table for every file."""
    header = ["tokens in S", "rho by", "within groups", "shift", "sd of the shift over draws"]
    for path in map(Path, sys.argv[1:]):
        with heading(f"{path.stem}: rho from exact strengths of a few tokens"):
            table(header, rows(*read(path)))


if __name__ == "__main__":
    main()
