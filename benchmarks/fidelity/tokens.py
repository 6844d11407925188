"""The tokens of one model with every signal of them, as one table: the files of `rollouts.py`, joined."""

import json
from collections.abc import Sequence
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
    tokens = with_norms(folder)
    norms = f"own, {NORMS}"
    if norms in tokens.columns:
        measured = tokens.filter(pl.col(norms).is_not_null())
        fit = measured.select(*KEYS, fitted(measured, own_parts(folder, measured)))
        tokens = tokens.drop(norms).join(fit, on=KEYS, how="left", maintain_order="left")
    return tokens


def with_norms(folder: Path) -> pl.DataFrame:
    """`joined` before the regression, with the own-position norms that it is on, if they were kept."""
    tokens = of_signal(folder, "exact").join(of_signal(folder, "logits"), on=KEYS)
    for path in sorted(folder.iterdir()):
        if any(path.glob("*.parquet")) and path.name not in ("exact", "logits"):
            tokens = tokens.join(of_signal(folder, path.name), on=KEYS, how="left")
    return tokens.sort(KEYS)


def fitted(
    tokens: pl.DataFrame,
    features: torch.Tensor,
    judge: str = "exact",
    count: int = FIT_TOKENS,
    draw: Sequence[int] = (),
) -> pl.Series:
    """`own, fitted`: for each group the strengths that follow from its `own_parts` by the regression of
    `corrpo.rewards.strength_fit`, over strengths by `judge` of `count` tokens drawn from the other groups.
    """
    groups, known = tokens["group"].to_numpy(), tokens[judge].is_not_null().to_numpy()
    logs = torch.tensor(tokens[judge].fill_null(1.0).to_numpy()).double().log()
    judged = torch.cat([features, logs[:, None]], dim=1)
    strengths = torch.zeros(len(tokens), dtype=torch.float64)
    for group in np.unique(groups):
        others = np.flatnonzero((groups != group) & known)
        fit = StrengthFit()
        fit.add(judged[np.random.default_rng([int(group), *draw]).permutation(others)[:count]])
        strengths[groups == group] = fit.strengths(features[groups == group])
    return pl.Series(f"own, {FITTED}", strengths.numpy(), dtype=pl.Float32)


def own_parts(folder: Path, tokens: pl.DataFrame) -> torch.Tensor:
    """`own_features` of tokens that hold their own-position norms."""
    prompts = tokens.join(_prompt_lengths(folder), on="group", how="left", maintain_order="left")["prompt"]
    norms = torch.tensor(np.stack(tokens[f"own, {NORMS}"].to_list()))
    return own_features(norms[:, :, None], torch.tensor((tokens["position"] + prompts).to_numpy()))


def _prompt_lengths(folder: Path) -> pl.DataFrame:
    rollouts = [json.loads(line) for line in (folder / "rollouts.jsonl").read_text().splitlines()]
    lengths = {rollout["group"]: len(rollout["prompt"]) for rollout in rollouts}
    return pl.DataFrame(
        {"group": lengths.keys(), "prompt": lengths.values()}, schema_overrides={"group": pl.Int32}
    )


def of_signal(folder: Path, signal: str) -> pl.DataFrame:
    """The files of one signal of `folder` as a table, with the names of `joined`."""
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
