"""The files of a fingerprint's folder and the columns of its tables: the one list of both.

A folder that is being filled holds settings.json and parts (`corrpo.jobs.files`); settings.json stays.
"""

from dataclasses import dataclass
from typing import Any

import polars as pl

FINGERPRINT = "fingerprint.json"
"""Statistics, settings and versions; written last, so it makes a folder a finished fingerprint."""
TOKENS = "tokens.parquet"
"""A row per response token: `TOKEN_COLUMNS`."""
RESPONSES = "responses.jsonl"
"""A row per sample: `RESPONSE_COLUMNS`."""
UNTRAINED = "untrained.parquet"
"""`TOKEN_COLUMNS` of random weights of the same architecture, if the control was asked for."""
READ_FILES = (FINGERPRINT, TOKENS, RESPONSES)
"""What every finished fingerprint has."""


@dataclass(frozen=True)
class Column:
    """A column of a table: its type in polars and what it holds.

    `since` is the version of corrpo that first wrote it, where fingerprints without it are read too.
    """

    dtype: Any
    meaning: str
    since: str | None = None


TOKEN_COLUMNS = {
    "sample": Column(pl.String, "id of the sample"),
    "position": Column(pl.Int32, "index of the token in its response, from 0"),
    "token_id": Column(pl.Int64, "index of the token in the vocabulary"),
    "token": Column(pl.String, "text of the token by itself"),
    "entropy_bits": Column(pl.Float64, "token entropy at temperature 1 over the full vocabulary, in bits"),
    "logprob": Column(pl.Float64, "natural logarithm of the token's probability"),
    "target_logit": Column(pl.Float64, "raw logit of the token"),
    "rank": Column(pl.Int32, "place of the token by probability, 1 for the likeliest", since="0.2"),
    "logits_gradient": Column(
        pl.Float64,
        "squared norm of the gradient of logprob at the logits, 1 - 2 p + sum of p^2: what costs nothing",
        since="0.3",
    ),
    "strength": Column(pl.Float64, "gradient strength: mean of the norms; null for a token left out"),
    "norms": Column(pl.List(pl.List(pl.Float64)), "a norm per layer and projection: list of lists"),
}
"""The columns of `TOKENS` and `UNTRAINED`, in the order of the file."""
LATER_COLUMNS = tuple(name for name, column in TOKEN_COLUMNS.items() if column.since is not None)
"""The columns that files of older versions lack."""

RESPONSE_COLUMNS = {
    "id": Column(pl.String, "id of the sample"),
    "prompt": Column(pl.String, "JSON of a text or of chat messages; in the file, the value itself"),
    "response": Column(pl.String, "the response as text"),
    "answer": Column(pl.String, "the right answer, if known"),
    "prompt_tokens": Column(pl.Int64, "length of the prompt"),
    "response_tokens": Column(pl.Int64, "length of the response"),
    "finished": Column(pl.Boolean, "false for a response that was cut at its longest"),
}
"""The columns of `Fingerprint.responses`, in the order of the file."""


def schema(columns: dict[str, Column]) -> dict[str, Any]:
    """Names and types of columns, as polars takes them.

    >>> schema(RESPONSE_COLUMNS)["finished"]
    Boolean
    """
    return {name: column.dtype for name, column in columns.items()}


def with_later_columns(tokens: pl.DataFrame) -> pl.DataFrame:
    """Tokens of an older version in the order of `TOKEN_COLUMNS`, null in those that have come since."""
    lacking = [name for name in LATER_COLUMNS if name not in tokens.columns]
    added = tokens.with_columns(pl.lit(None, dtype=TOKEN_COLUMNS[name].dtype).alias(name) for name in lacking)
    return added.select(name for name in TOKEN_COLUMNS if name in added.columns) if lacking else tokens
