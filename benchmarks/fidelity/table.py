"""Agreement with `exact`: `python benchmarks/fidelity/table.py FILE...`, Parquet files of `rollouts.py`.

Of every signal and variant: Spearman with `exact` (all projections and layers) over tokens; its rho, and the
shift from the rho of `exact`; Spearman of the rhos of rollouts with those of `exact`, over all rollouts and
as deviations from the mean of their group; CPU seconds a token over those of `exact`. Intervals are the
package's own, which resample whole rollouts (tokens) and whole groups (rollouts).
"""

import sys
from pathlib import Path

import polars as pl
from tokens import KEYS, SECONDS, signals_of

from common import heading, shown, table
from corrpo.statistics import TokenSeries, compare, correlate

MIN_TOKENS = 8
HEADER = ["signal", "tokens", "tokens, Spearman", "rho", "shift of rho"]
HEADER += ["rollouts, Spearman", "within groups", "time / exact"]


def rows(tokens: pl.DataFrame) -> list[list[str]]:
    """A row per signal and variant of one model."""
    return [_row(name, tokens.drop_nulls(name)) for name in signals_of(tokens)]


def _row(name: str, tokens: pl.DataFrame) -> list[str]:
    sample = _rollout_numbers(tokens)
    entropy, exact, signal = (tokens[column].to_numpy() for column in ("entropy", "exact", name))
    agreement = correlate(exact, signal, sample, permutations=0)
    shift = compare(TokenSeries(entropy, exact, sample), TokenSeries(entropy, signal, sample))
    rho = correlate(entropy, signal, sample, resamples=0, permutations=0)
    rhos = rollout_rhos(tokens, ["exact", name])
    groups = rhos["group"].to_numpy()
    of_rollouts = correlate(rhos["exact"], rhos[name], groups, permutations=0)
    centred = rhos.with_columns(pl.col("exact", name) - pl.col("exact", name).mean().over("group"))
    within = correlate(centred["exact"], centred[name], groups, permutations=0)
    cells = [f"{tokens.height:,}", shown(agreement), f"{rho.value:+.2f}", shown(shift, sign="+")]
    return [name, *cells, shown(of_rollouts), shown(within), _cost(name, tokens)]


def _rollout_numbers(tokens: pl.DataFrame) -> pl.Series:
    return tokens.select(pl.struct(KEYS[:2]).rank("dense")).to_series().to_numpy()


def _cost(name: str, tokens: pl.DataFrame) -> str:
    seconds = name.split(",", maxsplit=1)[0] + SECONDS
    if seconds not in tokens.columns:
        return ""
    return f"{tokens[seconds].sum() / tokens['exact' + SECONDS].sum():.2f}"


def rollout_rhos(tokens: pl.DataFrame, signals: list[str]) -> pl.DataFrame:
    """Group, rollout, and the Spearman correlation with entropy by each signal, of rollouts that have all."""
    ranks = tokens.select(
        *KEYS[:2], *(pl.col(name).rank().over(KEYS[:2]).alias(name) for name in ["entropy", *signals])
    )
    rhos = ranks.group_by(KEYS[:2], maintain_order=True).agg(
        *(pl.corr("entropy", name).alias(name) for name in signals), tokens=pl.len()
    )
    return rhos.filter(pl.col("tokens") >= MIN_TOKENS).drop("tokens").drop_nans().drop_nulls()


def main() -> None:
    """Print a table for every file."""
    for path in map(Path, sys.argv[1:]):
        tokens = pl.read_parquet(path)
        rho = correlate(tokens["entropy"], tokens["exact"], _rollout_numbers(tokens), permutations=0)
        with heading(f"{path.stem}: rho by exact {shown(rho, sign='+')}"):
            table(HEADER, rows(tokens))


if __name__ == "__main__":
    main()
