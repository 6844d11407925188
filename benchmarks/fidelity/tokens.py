"""The tokens of one model with every signal of them, as one table: the files of `rollouts.py`, joined."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import torch
from signals import ALL, FITTED, NORMS

from corrpo.rewards.strength_fit import StrengthFit, own_features

KEYS = ["group", "rollout", "position"]
SECONDS = " seconds"
FIT_TOKENS = 512
"""Tokens of other groups that the strengths of a group are fitted on."""


def joined(folder: Path) -> pl.DataFrame:
    """A row a token of the rollouts that `exact` has measured, sorted by `KEYS`.

    Columns beside the keys: entropy (bits); a strength for every signal and variant, named SIGNAL or
    "SIGNAL, VARIANT", null where it was not measured; "SIGNAL seconds", the CPU seconds of the token.
    """
    tokens = _of_signal(folder, "exact").join(_of_signal(folder, "logits"), on=KEYS)
    for path in sorted(folder.iterdir()):
        if any(path.glob("*.parquet")) and path.name not in ("exact", "logits"):
            tokens = tokens.join(_of_signal(folder, path.name), on=KEYS, how="left")
    tokens = tokens.sort(KEYS)
    norms = f"own, {NORMS}"
    if norms in tokens.columns:
        measured = tokens.filter(pl.col(norms).is_not_null())
        measured = measured.join(_prompt_lengths(folder), on="group", how="left", maintain_order="left")
        fit = measured.select(*KEYS, fitted(measured, norms))
        tokens = tokens.drop(norms).join(fit, on=KEYS, how="left", maintain_order="left")
    return tokens


def fitted(tokens: pl.DataFrame, norms: str) -> pl.Series:
    """`own, fitted`: for each group the strengths that follow from its own-position norms by the regression
    of `corrpo.rewards.strength_fit`, over exact strengths of `FIT_TOKENS` tokens drawn from the other groups.
    """
    groups = tokens["group"].to_numpy()
    positions = torch.tensor((tokens["position"] + tokens["prompt"]).to_numpy())
    features = own_features(torch.tensor(np.stack(tokens[norms].to_list()))[:, :, None], positions)
    judged = torch.cat([features, torch.tensor(tokens["exact"].to_numpy()).double().log()[:, None]], dim=1)
    strengths = torch.zeros(len(tokens), dtype=torch.float64)
    for group in np.unique(groups):
        others = np.random.default_rng(int(group)).permutation(np.flatnonzero(groups != group))[:FIT_TOKENS]
        fit = StrengthFit()
        fit.add(judged[torch.tensor(others)])
        strengths[groups == group] = fit.strengths(features[groups == group])
    return pl.Series(f"own, {FITTED}", strengths.numpy(), dtype=pl.Float32)


def _prompt_lengths(folder: Path) -> pl.DataFrame:
    rollouts = [json.loads(line) for line in (folder / "rollouts.jsonl").read_text().splitlines()]
    lengths = {rollout["group"]: len(rollout["prompt"]) for rollout in rollouts}
    return pl.DataFrame(
        {"group": lengths.keys(), "prompt": lengths.values()}, schema_overrides={"group": pl.Int32}
    )


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
