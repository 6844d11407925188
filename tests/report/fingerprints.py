"""Fingerprints made in code, for tests of reports and comparisons."""

import json

import numpy as np
import polars as pl

from corrpo.measurement.fingerprint import STATISTICS, Fingerprint
from corrpo.statistics import correlate

WORDS = ("the", " sum", " of", "\n", "7", "<think>", " carry", "1", "+", " so", "</think>", " answer")


def statistics_of(tokens):
    """The five statistics of a tokens table."""
    tokens = tokens.filter(pl.col("strength").is_not_null())
    columns = {name: tokens[name].to_numpy() for name in ("position", "token_id")}
    return {
        name: correlate(
            tokens["entropy_bits"].to_numpy(),
            tokens["strength"].to_numpy(),
            tokens["sample"].to_list(),
            method=method,
            by=by,
            resamples=100,
            permutations=100,
            **columns,
        )
        for name, (method, by) in STATISTICS.items()
    }


def token_table(slope, *, samples=12, length=30, layers=2, projections=4, seed=0, constant=False):
    """Random tokens whose log strength depends on entropy with the given slope."""
    rng = np.random.default_rng(seed)
    n = samples * length
    entropy = np.ones(n) if constant else rng.gamma(0.8, 1.1, n)
    noise = rng.normal(0, 0.7, (n, layers, projections))
    norms = np.exp(1.5 + slope * entropy[:, None, None] + noise)
    ids = rng.integers(0, len(WORDS), n)
    return pl.DataFrame(
        {
            "sample": [f"sample-{i // length}" for i in range(n)],
            "position": np.arange(n, dtype=np.int32) % length,
            "token_id": ids,
            "token": [WORDS[i] for i in ids],
            "entropy_bits": entropy,
            "logprob": -entropy,
            "target_logit": rng.normal(8, 1, n),
            "strength": norms.mean((1, 2)),
            "norms": norms.tolist(),
        }
    )


def make_fingerprint(
    slope=-0.5, *, name="reasoning", model="tiny", estimator="exact", untrained=False, settings=None, **shape
):
    """A fingerprint with given settings, and consistent statistics and tables."""
    tokens = token_table(slope, **shape)
    random_tokens = token_table(0.1, **{**shape, "seed": 99, "constant": False}) if untrained else None
    ids = tokens["sample"].unique(maintain_order=True).to_list()
    return Fingerprint(
        model={
            "name": model,
            "revision": None,
            "architecture": "Qwen2ForCausalLM",
            "parameters": 312_000,
            "attention_layers": shape.get("layers", 2),
            "dtype": "float32",
            "digest": f"sha256:{model}",
        },
        samples={
            "name": name,
            "digest": f"sha256:{name}",
            "given": len(ids) + 1,
            "measured": len(ids),
            "skipped": [{"sample": "sample-x", "reason": "the response is empty"}],
            "response_tokens": tokens.height,
            "measured_tokens": tokens["strength"].count(),
        },
        settings={
            "estimator": estimator,
            "norm": "nuclear",
            "target": "logit",
            "projections": ["q", "k", "v", "o"][: shape.get("projections", 4)],
            "layers": None,
            "dtype": "float32",
            "seed": 0,
            **(settings or {}),
        },
        versions={"corrpo": "0.1.0", "torch": "2.13.0", "transformers": "5.0.0", "python": "3.11.9"},
        statistics=statistics_of(tokens),
        tokens=tokens,
        responses=pl.DataFrame(
            {
                "id": ids,
                "prompt": [json.dumps("What is 3 + 4?")] * len(ids),
                "response": ["7"] * len(ids),
                "answer": ["7"] * len(ids),
                "prompt_tokens": [9] * len(ids),
                "response_tokens": [tokens.height // len(ids)] * len(ids),
                "finished": [True] * len(ids),
            }
        ),
        untrained=None if random_tokens is None else statistics_of(random_tokens),
        untrained_tokens=random_tokens,
    )
