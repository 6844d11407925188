"""The fingerprint of one model on one set of samples: statistics, tokens, and all that made them."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from corrpo.errors import BadInputError
from corrpo.jobs.files import read_parquet, read_versioned, write_json, write_parquet, write_text
from corrpo.statistics import Correlation

SCHEMA_VERSION = 1
FINGERPRINT = "fingerprint.json"
"""The file that makes a folder a finished fingerprint."""
STATISTICS = ("spearman", "pearson", "spearman_by_token", "pearson_by_token", "position_partial")


@dataclass(frozen=True)
class Fingerprint:
    """The Entropy-Gradient Inversion of one model on one set of samples.

    Attributes:
        model: name, revision, architecture, parameters, attention_layers, dtype, digest.
        samples: name, digest (SHA-256 of the samples), given, measured, skipped (list of sample and
            reason), response_tokens, measured_tokens.
        settings: every option of the measurement.
        versions: of corrpo, torch, transformers and Python.
        statistics: `STATISTICS` to `Correlation`.
        tokens: one row per response token: sample (str), position (int, index in the response from 0),
            token_id, token (str), entropy_bits, logprob (natural), target_logit, rank (1 for the likeliest
            token; not in fingerprints of corrpo before 0.2), strength (mean of the norms; null for a token
            left out by subsampling), norms (list per layer of list per projection).
        responses: one row per sample: id, prompt (JSON of a string or of chat messages), response, answer,
            prompt_tokens, response_tokens, finished.
        untrained: the same statistics for random weights of the same architecture, if asked for.
        untrained_tokens: the tokens behind them.
    """

    model: dict[str, Any]
    samples: dict[str, Any]
    settings: dict[str, Any]
    versions: dict[str, str]
    statistics: dict[str, Correlation]
    tokens: pl.DataFrame = field(repr=False)
    responses: pl.DataFrame = field(repr=False)
    untrained: dict[str, Correlation] | None = None
    untrained_tokens: pl.DataFrame | None = field(default=None, repr=False)

    @property
    def spearman(self) -> Correlation:
        """Spearman's rho of strength and entropy over token positions: the headline."""
        return self.statistics["spearman"]

    @property
    def pearson(self) -> Correlation:
        """Pearson's r over token positions."""
        return self.statistics["pearson"]

    @property
    def spearman_by_token(self) -> Correlation:
        """Spearman's rho over unique tokens, both quantities averaged over a token's occurrences."""
        return self.statistics["spearman_by_token"]

    @property
    def pearson_by_token(self) -> Correlation:
        """Pearson's r over unique tokens."""
        return self.statistics["pearson_by_token"]

    @property
    def position_partial(self) -> Correlation:
        """Spearman's rho over positions with the position in the response held constant."""
        return self.statistics["position_partial"]

    def save(self, folder: Path | str) -> None:
        """Write tokens.parquet, responses.jsonl, fingerprint.json (last) and any untrained.parquet.

        responses.jsonl is itself a samples file, with responses given (leave out those of a single token).

        Raises:
            OutputFolderError: the disk is full or the folder cannot be written to.
        """
        folder = Path(folder)
        write_parquet(folder / "tokens.parquet", self.tokens)
        if self.untrained_tokens is not None:
            write_parquet(folder / "untrained.parquet", self.untrained_tokens)
        rows = [row | {"prompt": json.loads(row["prompt"])} for row in self.responses.iter_rows(named=True)]
        write_text(folder / "responses.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        write_json(folder / FINGERPRINT, self._summary())

    def _summary(self) -> dict[str, Any]:
        def plain(statistics: dict[str, Correlation]) -> dict[str, Any]:
            return {name: correlation.as_dict() for name, correlation in statistics.items()}

        return {
            "schema_version": SCHEMA_VERSION,
            "model": self.model,
            "samples": self.samples,
            "statistics": plain(self.statistics),
            "untrained": None if self.untrained is None else plain(self.untrained),
            "settings": self.settings,
            "versions": self.versions,
        }

    @classmethod
    def load(cls, folder: Path | str) -> "Fingerprint":
        """Read a folder that `save` or `corrpo measure` wrote.

        Raises:
            BadInputError: there is no finished fingerprint in the folder, or its schema is another.
        """
        folder = Path(folder)
        if not (folder / FINGERPRINT).exists():
            state = "is unfinished" if (folder / "settings.json").exists() else "holds no fingerprint.json"
            raise BadInputError(f"{folder} {state}; run corrpo measure with --output {folder} to the end")
        summary = read_versioned(folder / FINGERPRINT, SCHEMA_VERSION)
        lines = (folder / "responses.jsonl").read_text(encoding="utf-8").splitlines()
        responses = [row | {"prompt": json.dumps(row["prompt"])} for row in map(json.loads, lines)]
        untrained = summary["untrained"]
        return cls(
            model=summary["model"],
            samples=summary["samples"],
            settings=summary["settings"],
            versions=summary["versions"],
            statistics=_correlations(summary["statistics"]),
            tokens=read_parquet(folder / "tokens.parquet"),
            responses=pl.DataFrame(responses, infer_schema_length=None),
            untrained=None if untrained is None else _correlations(untrained),
            untrained_tokens=None if untrained is None else read_parquet(folder / "untrained.parquet"),
        )


def _correlations(plain: dict[str, Any]) -> dict[str, Correlation]:
    return {name: Correlation.from_dict(value) for name, value in plain.items()}
