"""The tokens to look at first: highest entropy, and high entropy with low gradient strength."""

from dataclasses import dataclass

import polars as pl

from corrpo.measurement.fingerprint import Fingerprint
from corrpo.report.formatting import token_text

LISTED = 15
BEFORE, AFTER = 36, 18
"""Characters of context on either side."""
HIGH = 0.9
"""Tokens of high entropy are those above this quantile."""


@dataclass(frozen=True)
class Excerpt:
    """One token in its place.

    Attributes:
        sample: id of the sample.
        position: index in the response, from 0.
        before: the text just before it.
        token: the token, as it can be shown.
        after: the text just after it.
        entropy_bits: its entropy.
        strength: its gradient strength.
    """

    sample: str
    position: int
    before: str
    token: str
    after: str
    entropy_bits: float
    strength: float


def highest_entropy(fingerprint: Fingerprint) -> list[Excerpt]:
    """The `LISTED` measured tokens of highest entropy, the highest first."""
    return _listed(fingerprint.tokens, fingerprint.measured_tokens, pl.col("entropy_bits"))


def high_entropy_low_gradient(fingerprint: Fingerprint) -> list[Excerpt]:
    """The `LISTED` tokens of lowest strength among those whose entropy is above the `HIGH` quantile."""
    tokens = fingerprint.measured_tokens
    high = tokens.filter(pl.col("entropy_bits") >= pl.col("entropy_bits").quantile(HIGH))
    return _listed(fingerprint.tokens, high, -pl.col("strength"))


def _listed(tokens: pl.DataFrame, chosen: pl.DataFrame, score: pl.Expr) -> list[Excerpt]:
    order = [score, pl.col("sample"), pl.col("position")]
    top = chosen.sort(order, descending=[True, False, False]).head(LISTED)
    return [_excerpt(tokens, row) for row in top.iter_rows(named=True)]


def _excerpt(tokens: pl.DataFrame, row: dict) -> Excerpt:
    place = row["position"]
    near = tokens.filter(
        (pl.col("sample") == row["sample"]) & pl.col("position").is_between(place - BEFORE, place + AFTER)
    ).sort("position")
    return Excerpt(
        sample=row["sample"],
        position=place,
        before=_joined(near.filter(pl.col("position") < place))[-BEFORE:],
        token=token_text(row["token"]),
        after=_joined(near.filter(pl.col("position") > place))[:AFTER],
        entropy_bits=row["entropy_bits"],
        strength=row["strength"],
    )


def _joined(tokens: pl.DataFrame) -> str:
    return "".join(tokens["token"])
