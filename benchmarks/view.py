"""What a reader of `corrpo view` waits for, on a made fingerprint of 500 samples of 2,000 tokens."""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import psutil
from starlette.testclient import TestClient

from common import heading, table
from corrpo.fingerprint import STATISTICS, Fingerprint
from corrpo.statistics import Correlation
from corrpo.viewer.data import viewed
from corrpo.viewer.server import application

SAMPLES, TOKENS, LAYERS, PROJECTIONS = 500, 2_000, 8, 4
WORDS = [" the", " so", "\n", "7", ",", " therefore", "<b>", "é"]
GOAL = "at most 1 s"


def made() -> Fingerprint:
    """A fingerprint of random numbers in which strength falls with entropy."""
    rng = np.random.default_rng(0)
    count = SAMPLES * TOKENS
    entropy = rng.exponential(size=count)
    norms = rng.lognormal(size=(count, LAYERS, PROJECTIONS)) / (1 + entropy)[:, None, None]
    names = [f"sample-{number:03d}" for number in range(SAMPLES)]
    nested = pl.Series("norms", norms).cast(pl.List(pl.List(pl.Float64)))
    tokens = pl.DataFrame(
        {
            "sample": np.repeat(names, TOKENS),
            "position": np.tile(np.arange(TOKENS, dtype=np.int32), SAMPLES),
            "token_id": rng.integers(150_000, size=count),
            "token": rng.choice(WORDS, size=count),
            "entropy_bits": entropy,
            "logprob": -entropy,
            "target_logit": 20 - entropy,
            "rank": np.ones(count, dtype=np.int32),
            "strength": norms.mean(axis=(1, 2)),
            "norms": nested,
        }
    )
    responses = pl.DataFrame(
        {
            "id": names,
            "prompt": [json.dumps(f"What is {number} + 1?") for number in range(SAMPLES)],
            "response": [f"<answer>{number + 1 + number % 2}</answer>" for number in range(SAMPLES)],
            "answer": [str(number + 1) for number in range(SAMPLES)],
        }
    )
    settings = {"estimator": "exact", "norm": "nuclear", "target": "logit", "layers": None}
    return Fingerprint(
        model={"name": "made", "attention_layers": LAYERS},
        samples={"name": "made"},
        settings=settings | {"projections": list("qkvo"), "confidence": 0.95},
        versions={},
        statistics=dict.fromkeys(STATISTICS, Correlation(-0.5, -0.51, -0.49, 0.001, count, SAMPLES)),
        tokens=tokens,
        responses=responses,
    )


def seconds(call: Callable[[], object]) -> float:
    """The time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def resident() -> float:
    """MiB of memory that this process holds."""
    return psutil.Process().memory_info().rss / 2**20


def worst(call: Callable[[int], object], numbers: range) -> list[str]:
    """The median and the longest time of `call` over `numbers`, each for the first time."""
    times = [seconds(lambda number=number: call(number)) for number in numbers]
    return [f"{1e3 * np.median(times):.0f} ms", f"{1e3 * max(times):.0f} ms", GOAL]


def main() -> None:
    """Write the fingerprint, open it, and ask for what a reader would."""
    with tempfile.TemporaryDirectory() as folder:
        made().save(folder)
        size = (Path(folder) / "tokens.parquet").stat().st_size / 2**20
        before = resident()
        fingerprints = viewed(Path(folder), "exact")
        start = seconds(fingerprints[0].index)
        held = resident() - before
        client = TestClient(application(fingerprints), base_url="http://127.0.0.1")
        rows = [
            ["start: read all, index, answers", f"{1e3 * start:.0f} ms", "", "once"],
            ["index", *worst(lambda _: client.get("/api/0"), range(5))],
            ["a sample", *worst(lambda i: client.get(f"/api/0/{i}"), range(0, SAMPLES, 25))],
            ["a token's map", *worst(lambda i: client.get(f"/api/0/{i}/{i}"), range(1, SAMPLES, 25))],
        ]
        sample, listed = (len(client.get(path).content) / 2**10 for path in ("/api/0/0", "/api/0"))
    with heading(f"corrpo view: {SAMPLES} samples x {TOKENS:,} tokens, {LAYERS} layers x {PROJECTIONS}"):
        table(["what the server does", "median", "longest", "goal"], rows)
        print(
            f"\ntokens.parquet {size:.0f} MiB; memory held {held:.0f} MiB; the index is {listed:.0f} KiB, "
            f"a sample {sample:.0f} KiB."
        )


if __name__ == "__main__":
    main()
