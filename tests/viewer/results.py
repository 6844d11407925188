"""Fingerprints for the viewer's tests, with tokens of every kind."""

import math

import numpy as np
import polars as pl

from corrpo.measurement.fingerprint import STATISTICS, Fingerprint
from corrpo.measurement.fingerprint_format import TOKEN_COLUMNS, schema
from corrpo.statistics import Correlation

HOSTILE = [
    "<script>window.hacked=1</script>",
    "\x00\x1b[31m",
    "\u202egnp.exe",
    "👩‍👩‍👧",
    "line\nbreak",
    "מילה",
    "</div>",
    "x" * 10_000,
]


def made(samples: int, tokens: int, *, texts: list[str] | None = None, norms: bool = True, seed: int = 0):
    """A fingerprint of random numbers: 2 layers, 2 projections, every third token without a strength."""
    rng = np.random.default_rng(seed)
    words = texts or [" the", " so", "\n", "7", ","]
    tables, responses = [], []
    for number in range(samples):
        name = f"s{number}"
        entropy = rng.exponential(size=tokens)
        values = rng.random((tokens, 2, 2))
        measured = [norms and place % 3 != 2 for place in range(tokens)]
        pairs = list(zip(values, measured, strict=True))
        tables.append(
            pl.DataFrame(
                {
                    "sample": [name] * tokens,
                    "position": range(tokens),
                    "token_id": rng.integers(1000, size=tokens),
                    "token": [words[place % len(words)] for place in range(tokens)],
                    "entropy_bits": entropy,
                    "logprob": -entropy,
                    "target_logit": entropy,
                    "rank": np.ones(tokens, dtype=int),
                    "logits_gradient": entropy,
                    "strength": [float(v.mean()) if m else None for v, m in pairs],
                    "norms": [v.tolist() if m else None for v, m in pairs],
                },
                schema=schema(TOKEN_COLUMNS),
            )
        )
        responses.append(
            {
                "id": name,
                "prompt": f'[{{"role": "user", "content": "What is {number} + 1?"}}]',
                "response": f"<answer>{number + number % 2}</answer>",
                "answer": str(number) if number % 3 else None,
                "prompt_tokens": 3,
                "response_tokens": tokens,
                "finished": True,
            }
        )
    rho = Correlation(-0.1, -0.2, 0.0, 0.04, samples * math.ceil(2 * tokens / 3), samples)
    return Fingerprint(
        model={"name": "made", "attention_layers": 2, "digest": "d"},
        samples={"name": "sums", "digest": "s"},
        settings={
            "estimator": "exact",
            "norm": "nuclear",
            "target": "logit",
            "projections": ["q", "o"],
            "layers": None,
        },
        versions={},
        statistics=dict.fromkeys(STATISTICS, rho),
        tokens=pl.concat(tables),
        responses=pl.DataFrame(responses),
    )
