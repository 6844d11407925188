"""Agreement with `exact`: `python benchmarks/fidelity/table.py FILE... [--write]`, files of `rollouts.py`.

Of every signal and variant: Spearman with `exact` (all projections and layers) over tokens; its rho, and the
shift from the rho of `exact`; Spearman of the rhos of rollouts with those of `exact`, over all rollouts and
as deviations from the mean of their group; CPU seconds a token over those of `exact`. Intervals are the
package's own, which resample whole rollouts (tokens) and whole groups (rollouts). With --write they go into
the package too, which tells them wherever an estimator is chosen.
"""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import polars as pl
from tokens import KEYS, SECONDS, signals_of

from common import heading, shown, table
from corrpo.jobs.files import write_text
from corrpo.statistics import Correlation, Difference, TokenSeries, compare, correlate
from corrpo.strength.estimators import ESTIMATORS, fidelity

MIN_TOKENS = 8
MODELS = {
    "gemma3-270m": "Gemma 3 270M",
    "qwen2.5-coder-0.5b": "Qwen2.5-Coder-0.5B-Instruct",
    "qwen2.5-coder-1.5b": "Qwen2.5-Coder-1.5B-Instruct",
    "lab-qwen2": "lab qwen2 reasoning",
    "lab-llama": "lab llama reasoning",
}
"""Names by the stem of the file."""
HEADER = ["signal", "tokens", "tokens, Spearman", "rho", "shift of rho"]
HEADER += ["rollouts, Spearman", "within groups", "time / exact"]


def measured(tokens: pl.DataFrame, model: str) -> list[dict[str, Any]]:
    """A row of `corrpo.strength.estimators.fidelity.ROWS` per signal and variant of one model."""
    return [_row(name, tokens.drop_nulls(name)) | {"model": model} for name in signals_of(tokens)]


def _row(name: str, tokens: pl.DataFrame) -> dict[str, Any]:
    sample = _rollout_numbers(tokens)
    entropy, exact, signal = (tokens[column].to_numpy() for column in ("entropy", "exact", name))
    rhos = rollout_rhos(tokens, ["exact", name])
    groups = rhos["group"].to_numpy()
    centred = within_groups(rhos)
    results = {
        "tokens": correlate(exact, signal, sample, permutations=0),
        "shift": compare(TokenSeries(entropy, exact, sample), TokenSeries(entropy, signal, sample)),
        "rollouts": correlate(rhos["exact"], rhos[name], groups, permutations=0),
        "within_groups": correlate(centred["exact"], centred[name], groups, permutations=0),
    }
    rho = correlate(entropy, signal, sample, resamples=0, permutations=0)
    estimator, settings = _asked(name)
    return {
        "signal": name,
        "estimator": estimator,
        "settings": settings,
        "n_tokens": tokens.height,
        "n_groups": tokens["group"].n_unique(),
        "rho": round(rho.value, 4),
        **{what: _values(result) for what, result in results.items()},
        "time": _cost(name, tokens),
    }


def _asked(signal: str) -> tuple[str | None, str | None]:
    """Estimator and settings behind the name of a signal; None for what is not an estimator of the package.

    >>> _asked("pruned-8"), _asked("own"), _asked("logits")
    (('pruned', '8 kept'), ('own', 'all'), (None, None))
    """
    name, _, variant = signal.partition(", ")
    name, _, kept = name.partition("-")
    if name not in ESTIMATORS or name == "exact":
        return None, None
    return name, f"{kept} kept" if kept else variant or "all"


def _values(result: Correlation | Difference) -> list[float | None]:
    """Value, low and high; None where there is none, as with too few groups."""
    numbers = (result.value, result.low, result.high)
    return [None if number is None else round(number, 4) for number in numbers]


def _rollout_numbers(tokens: pl.DataFrame) -> pl.Series:
    return tokens.select(pl.struct(KEYS[:2]).rank("dense")).to_series().to_numpy()


def _cost(name: str, tokens: pl.DataFrame) -> float | None:
    seconds = name.split(",", maxsplit=1)[0] + SECONDS
    if seconds not in tokens.columns:
        return None
    return round(tokens[seconds].sum() / tokens["exact" + SECONDS].sum(), 3)


def rollout_rhos(tokens: pl.DataFrame, signals: list[str]) -> pl.DataFrame:
    """Group, rollout, and the Spearman correlation with entropy by each signal, of rollouts that have all."""
    ranks = tokens.select(
        *KEYS[:2], *(pl.col(name).rank().over(KEYS[:2]).alias(name) for name in ["entropy", *signals])
    )
    rhos = ranks.group_by(KEYS[:2], maintain_order=True).agg(
        *(pl.corr("entropy", name).alias(name) for name in signals), tokens=pl.len()
    )
    return rhos.filter(pl.col("tokens") >= MIN_TOKENS).drop("tokens").drop_nans().drop_nulls()


def within_groups(rhos: pl.DataFrame) -> pl.DataFrame:
    """`rollout_rhos` as deviations from the mean of their group."""
    signals = pl.exclude(KEYS)
    return rhos.with_columns(signals - signals.mean().over("group"))


def cells(row: dict[str, Any]) -> list[str]:
    """The cells of a row in the printed table."""

    def interval(name: str, sign: str = "") -> str:
        value, *bounds = ("" if number is None else f"{number:{sign}.2f}" for number in row[name])
        return f"{value} [{', '.join(bounds)}]" if all(bounds) else value

    time = "" if row["time"] is None else f"{row['time']:.2f}"
    agreement = [interval("tokens"), f"{row['rho']:+.2f}", interval("shift", "+")]
    of_rollouts = [interval("rollouts"), interval("within_groups")]
    return [row["signal"], f"{row['n_tokens']:,}", *agreement, *of_rollouts, time]


def main() -> None:
    """Print a table for every file."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--write", action="store_true", help="put the numbers into the package")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for path in options.files:
        tokens = pl.read_parquet(path)
        rho = correlate(tokens["entropy"], tokens["exact"], _rollout_numbers(tokens), permutations=0)
        of_model = measured(tokens, MODELS[path.stem])
        rows += [row | {"pretrained": not path.stem.startswith("lab-")} for row in of_model]
        groups = f"{tokens['group'].n_unique()} groups of {tokens['rollout'].n_unique()} rollouts"
        with heading(f"{MODELS[path.stem]}, {groups}: rho by exact {shown(rho, sign='+')}"):
            table(HEADER, [cells(row) for row in of_model])
    if options.write:
        lines = ",\n".join(json.dumps(row) for row in rows)
        write_text(Path(fidelity.__file__).with_suffix(".json"), f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
