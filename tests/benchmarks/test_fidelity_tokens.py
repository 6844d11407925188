"""The table that the benchmark of fidelity joins from its files, whatever is there of them so far."""

import json

import numpy as np
import polars as pl
from signals import ALL, NORMS
from tokens import joined

TOKENS = 100


def write_group(folder, group, signals):
    """One rollout of `TOKENS` tokens, whose strength is the product of the two norms that `own` finds."""
    norms = np.exp(np.random.default_rng(group).normal(size=(TOKENS, 2)))
    places = {"rollout": [0] * TOKENS, "position": list(range(TOKENS))}
    found = {
        "exact": {ALL: norms.prod(1)},
        "logits": {"entropy": norms[:, 0], "logits": norms[:, 1]},
        "own": {ALL: norms.mean(1), NORMS: norms.tolist()},
    }
    for signal in signals:
        (folder / signal).mkdir(parents=True, exist_ok=True)
        pl.DataFrame(places | found[signal]).write_parquet(folder / signal / f"{group:02d}.parquet")


def test_strengths_are_fitted_on_the_other_groups_and_only_where_own_has_been_measured(tmp_path):
    for group in range(3):
        write_group(tmp_path, group, ["exact", "logits"] + (["own"] if group < 2 else []))
    rollouts = [{"group": group, "prompt": [1, 2], "response": [3] * TOKENS} for group in range(3)]
    (tmp_path / "rollouts.jsonl").write_text("".join(json.dumps(rollout) + "\n" for rollout in rollouts))

    table = joined(tmp_path)

    assert table["group"].to_list() == sorted([0, 1, 2] * TOKENS)
    measured, missing = table.filter(pl.col("group") < 2), table.filter(pl.col("group") == 2)
    fitted = measured["own, fitted"].log().to_numpy()
    assert np.corrcoef(fitted, measured["exact"].log().to_numpy())[0, 1] > 0.99
    assert missing["own, fitted"].null_count() == missing["own"].null_count() == TOKENS
    assert "own, norms" not in table.columns
