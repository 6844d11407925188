"""Tables of agreement with `exact`: `python benchmarks/fidelity/table.py OUT...`, folders of `rollouts.py`.

Of every signal and variant: Spearman with `exact` (all projections and layers) over tokens; its rho, and the
shift from the rho of `exact`; Spearman of the rhos of rollouts with those of `exact`, over all rollouts and
as deviations from the mean of their group; seconds a token over those of `exact`. Intervals are the
package's own, which resample whole rollouts (tokens) and whole groups (rollouts).
"""

import sys
from pathlib import Path

import numpy as np
import polars as pl
from signals import ALL

from common import heading, table
from corrpo.statistics import Correlation, Difference, TokenSeries, compare, correlate

MIN_TOKENS = 8
KEYS = ["group", "rollout", "position"]


def tokens_of(folder: Path, signal: str) -> pl.DataFrame:
    """All tokens of a signal, with the number of their group; no rows if it was not measured."""
    files = sorted((folder / signal).glob("*.parquet"))
    tables = [pl.read_parquet(path).with_columns(group=pl.lit(int(path.stem))) for path in files]
    return pl.concat(tables) if tables else pl.DataFrame()


def rows(folder: Path) -> list[list[str]]:
    """A row per signal and variant of one model."""
    exact = tokens_of(folder, "exact").rename({ALL: "exact", "seconds": "exact seconds"})
    truth = exact.select(*KEYS, "exact", "exact seconds").join(tokens_of(folder, "logits"), on=KEYS)
    made = []
    for path in sorted(folder.iterdir()):
        measured = tokens_of(folder, path.name) if path.is_dir() else pl.DataFrame()
        if measured.is_empty():
            continue
        signals = [name for name in measured.columns if name not in {*KEYS, "seconds", "entropy"}]
        for signal in signals:
            if (path.name, signal) == ("exact", ALL):
                continue
            own = measured.select(*KEYS, pl.col(signal).alias("signal"), *_seconds(measured))
            name = path.name if signal in (ALL, path.name) else f"{path.name}, {signal}"
            made.append(_row(name, truth.join(own, on=KEYS).sort(KEYS)))
    return made


def _seconds(measured: pl.DataFrame) -> list[pl.Expr]:
    return [pl.col("seconds")] if "seconds" in measured.columns else []


def _row(name: str, tokens: pl.DataFrame) -> list[str]:
    sample = (tokens["group"] * 1000 + tokens["rollout"]).to_numpy()
    entropy, exact, signal = (tokens[column].to_numpy() for column in ("entropy", "exact", "signal"))
    agreement = correlate(exact, signal, sample, permutations=0)
    shift = compare(TokenSeries(entropy, exact, sample), TokenSeries(entropy, signal, sample))
    rho = correlate(entropy, signal, sample, resamples=0, permutations=0)
    by_rollout = _rhos(tokens)
    groups = by_rollout["group"].to_numpy()
    of_rollouts = correlate(by_rollout["exact"], by_rollout["signal"], groups, permutations=0)
    centred = by_rollout.with_columns(
        pl.col("exact", "signal") - pl.col("exact", "signal").mean().over("group")
    )
    within = correlate(centred["exact"], centred["signal"], groups, permutations=0)
    ratio = (
        ""
        if "seconds" not in tokens.columns
        else f"{tokens['seconds'].sum() / tokens['exact seconds'].sum():.2f}"
    )
    cells = [
        _shown(agreement),
        f"{rho.value:+.2f}",
        _shown(shift, sign="+"),
        _shown(of_rollouts),
        _shown(within),
    ]
    return [name, f"{tokens.height:,}", *cells, ratio]


def _rhos(tokens: pl.DataFrame) -> pl.DataFrame:
    """The rho of each rollout by `exact` and by the signal, of those that have one."""
    found = []
    for (group, _), rollout in tokens.group_by("group", "rollout", maintain_order=True):
        rho = [
            correlate(
                rollout["entropy"],
                rollout[name],
                np.zeros(rollout.height, dtype=int),
                resamples=0,
                permutations=0,
            ).value
            for name in ("exact", "signal")
        ]
        if rollout.height >= MIN_TOKENS and None not in rho:
            found.append({"group": group, "exact": rho[0], "signal": rho[1]})
    return pl.DataFrame(found)


def _shown(result: Correlation | Difference, sign: str = "") -> str:
    if result.value is None:
        return str(result.reason)
    value = f"{result.value:{sign}.2f}"
    return value if result.low is None else f"{value} [{result.low:{sign}.2f}, {result.high:{sign}.2f}]"


def main() -> None:
    """Print a table for every folder."""
    header = ["signal", "tokens", "tokens, Spearman", "rho", "shift of rho"]
    header += ["rollouts, Spearman", "within groups", "time / exact"]
    for folder in map(Path, sys.argv[1:]):
        exact = tokens_of(folder, "exact").join(tokens_of(folder, "logits"), on=KEYS)
        sample = exact["group"] * 1000 + exact["rollout"]
        rho = correlate(exact["entropy"], exact[ALL], sample, permutations=0)
        with heading(f"{folder.name}: rho by exact {_shown(rho, sign='+')}"):
            table(header, rows(folder))


if __name__ == "__main__":
    main()
