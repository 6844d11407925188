"""The tokens of one model with every signal of them, as one table: the files of `rollouts.py`, joined."""

from pathlib import Path

import polars as pl
from signals import ALL

KEYS = ["group", "rollout", "position"]
SECONDS = " seconds"


def joined(folder: Path) -> pl.DataFrame:
    """A row a token of the rollouts that `exact` has measured, sorted by `KEYS`.

    Columns beside the keys: entropy (bits); a strength for every signal and variant, named SIGNAL or
    "SIGNAL, VARIANT", null where it was not measured; "SIGNAL seconds", the CPU seconds of the token.
    """
    tokens = _of_signal(folder, "exact").join(_of_signal(folder, "logits"), on=KEYS)
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name not in ("exact", "logits"):
            tokens = tokens.join(_of_signal(folder, path.name), on=KEYS, how="left")
    return tokens.sort(KEYS)


def _of_signal(folder: Path, signal: str) -> pl.DataFrame:
    files = sorted((folder / signal).glob("*.parquet"))
    table = pl.concat(
        pl.read_parquet(path).with_columns(group=pl.lit(int(path.stem), pl.Int32)) for path in files
    )
    kept = {*KEYS, "entropy", signal}
    names = {ALL: signal, "seconds": signal + SECONDS}
    return table.rename(
        {column: names.get(column, f"{signal}, {column}") for column in table.columns if column not in kept}
    )


def signals_of(tokens: pl.DataFrame) -> list[str]:
    """The columns that hold strengths, but for "exact" itself."""
    return [
        name
        for name in tokens.columns
        if name not in {*KEYS, "entropy", "exact"} and not name.endswith(SECONDS)
    ]
