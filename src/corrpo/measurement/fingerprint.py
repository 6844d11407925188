"""The fingerprint of one model on one set of samples: statistics, tokens, and all that made them."""

import hashlib
import json
from dataclasses import dataclass, field, fields
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from corrpo.errors import BadInputError
from corrpo.jobs.checksums import check_content
from corrpo.jobs.files import (
    read_parquet,
    read_versioned,
    results_read,
    write_json,
    write_parquet,
    write_text,
)
from corrpo.jobs.run_folder import SETTINGS
from corrpo.measurement.fingerprint_format import (
    FINGERPRINT,
    LATER_COLUMNS,
    RESPONSE_COLUMNS,
    RESPONSES,
    TOKEN_COLUMNS,
    TOKENS,
    UNTRAINED,
    schema,
)
from corrpo.measurement.fingerprint_text import in_html, in_lines, in_short
from corrpo.statistics import Correlation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA_VERSION = 1
STATISTICS = {
    "spearman": ("spearman", "position"),
    "pearson": ("pearson", "position"),
    "spearman_by_token": ("spearman", "token"),
    "pearson_by_token": ("pearson", "token"),
    "position_partial": ("partial_spearman", "position"),
}
"""The correlations of a fingerprint: the method and the unit of each, as `corrpo.statistics.correlate` takes
them."""


@dataclass(frozen=True, eq=False, repr=False)
class Fingerprint:
    """The Entropy-Gradient Inversion of one model on one set of samples.

    `print(fingerprint)` shows it in a few lines, and a notebook as a small table. Two are equal if all that
    they hold is, tables included, but for `run`.

    Attributes:
        model: name, revision, architecture, parameters, attention_layers, dtype, digest, projection_layers
            (that hold the measured projections, and that settings["layers"] counts; not in older versions).
        samples: name, digest (SHA-256 of the samples), given, measured, cut (responses that ended at
            max_new_tokens), skipped (list of sample and reason), response_tokens, measured_tokens.
        settings: every option of the measurement.
        versions: of corrpo, torch, transformers and Python.
        statistics: `STATISTICS` to `Correlation`.
        tokens: one row per response token, with the columns of
            `corrpo.measurement.fingerprint_format.TOKEN_COLUMNS`.
        responses: one row per sample, with the columns of `RESPONSE_COLUMNS` there.
        untrained: the same statistics for random weights of the same architecture, if asked for.
        untrained_tokens: the tokens behind them.
        baseline: Spearman's rho of entropy with logits_gradient over the tokens whose strength was measured:
            what costs nothing. None for tokens of an older version, which lack that column.
        run: date, seconds, device, threads, processes and command of the call that finished it
            (`corrpo.jobs.run_record`); None for a fingerprint of an older version.
    """

    model: dict[str, Any]
    samples: dict[str, Any]
    settings: dict[str, Any]
    versions: dict[str, str]
    statistics: dict[str, Correlation]
    tokens: pl.DataFrame
    responses: pl.DataFrame
    untrained: dict[str, Correlation] | None = None
    untrained_tokens: pl.DataFrame | None = None
    baseline: Correlation | None = None
    run: dict[str, Any] | None = field(default=None, compare=False)

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

    @property
    def measured_tokens(self) -> pl.DataFrame:
        """The rows of `tokens` whose strength was measured."""
        return self.tokens.filter(pl.col("strength").is_not_null())

    @property
    def cut(self) -> int:
        """How many responses ended at max_new_tokens."""
        return int((~self.responses["finished"]).sum())

    @property
    def cut_share(self) -> float | None:
        """Their share of all responses; None if there are none."""
        return self.cut / self.responses.height if self.responses.height else None

    def __eq__(self, other: object) -> bool:
        """True if every field but `run` is equal; a table, if its columns, their types and all values are."""
        if not isinstance(other, Fingerprint):
            return NotImplemented
        names = [each.name for each in fields(self) if each.compare]
        return all(_is_same(getattr(self, name), getattr(other, name)) for name in names)

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        return in_short(self)

    def __str__(self) -> str:
        return in_lines(self)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return in_html(self)

    def plot(self) -> "Figure":
        """Figure 1 of the paper: entropy against gradient strength, a point per measured token.

        Returns:
            A matplotlib figure, to be shown or kept by `savefig`; it is not registered with pyplot.
        """
        from corrpo.measurement.entropy_strength_figure import entropy_strength_figure

        return entropy_strength_figure(self)

    def save(self, folder: Path | str) -> None:
        """Write tokens.parquet, responses.jsonl, fingerprint.json (last) and any untrained.parquet.

        responses.jsonl is itself a samples file, with responses given (leave out those of a single token).

        Raises:
            OutputFolderError: the disk is full or the folder cannot be written to.
        """
        folder = Path(folder)
        write_parquet(folder / TOKENS, self.tokens)
        if self.untrained_tokens is not None:
            write_parquet(folder / UNTRAINED, self.untrained_tokens)
        rows = [row | {"prompt": json.loads(row["prompt"])} for row in self.responses.iter_rows(named=True)]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        write_text(folder / RESPONSES, lines)
        digest = hashlib.sha256(lines.encode()).hexdigest()
        write_json(folder / FINGERPRINT, self._summary() | {"responses_sha256": digest})

    def _summary(self) -> dict[str, Any]:
        def plain(statistics: dict[str, Correlation]) -> dict[str, Any]:
            return {name: correlation.as_dict() for name, correlation in statistics.items()}

        return {
            "schema_version": SCHEMA_VERSION,
            "model": self.model,
            "samples": self.samples,
            "statistics": plain(self.statistics),
            "untrained": None if self.untrained is None else plain(self.untrained),
            "baseline": None if self.baseline is None else self.baseline.as_dict(),
            "settings": self.settings,
            "versions": self.versions,
            "run": self.run,
        }

    @classmethod
    def load(cls, folder: Path | str) -> "Fingerprint":
        """Read a folder that `save` or `corrpo measure` wrote.

        Raises:
            BadInputError: there is no finished fingerprint in the folder, its schema is another, or one of
                its files is damaged (`DamagedFileError`).
        """
        if not isinstance(folder, str | PathLike):
            raise BadInputError(f"{folder!r:.80}: expected the path of a folder")
        folder = Path(folder)
        if not (folder / FINGERPRINT).exists():
            state = "is unfinished" if (folder / SETTINGS).exists() else f"holds no {FINGERPRINT}"
            raise BadInputError(f"{folder} {state}; run corrpo measure with --output {folder} to the end")
        with results_read(folder):
            return cls._read(folder)

    @classmethod
    def _read(cls, folder: Path) -> "Fingerprint":
        summary = read_versioned(folder / FINGERPRINT, SCHEMA_VERSION)
        written = (folder / RESPONSES).read_bytes()
        check_content(folder / RESPONSES, written, summary.get("responses_sha256"))
        rows = map(json.loads, written.splitlines())
        responses = [row | {"prompt": json.dumps(row["prompt"])} for row in rows]
        untrained = summary["untrained"]
        return cls(
            model=summary["model"],
            samples=summary["samples"],
            settings=summary["settings"],
            versions=summary["versions"],
            statistics=_correlations(summary["statistics"]),
            tokens=_tokens_of(folder / TOKENS),
            responses=pl.DataFrame(responses, schema=schema(RESPONSE_COLUMNS)),
            untrained=None if untrained is None else _correlations(untrained),
            untrained_tokens=None if untrained is None else _tokens_of(folder / UNTRAINED),
            baseline=baseline_of(summary),
            run=summary.get("run"),
        )


def baseline_of(summary: dict[str, Any]) -> Correlation | None:
    """`Fingerprint.baseline` of the content of a fingerprint.json; None if an older version wrote it."""
    baseline = summary.get("baseline")
    return None if baseline is None else Correlation.from_dict(baseline)


def _tokens_of(path: Path) -> pl.DataFrame:
    """Tokens with the columns that they must have."""
    tokens = read_parquet(path)
    needed = {name: column.dtype for name, column in TOKEN_COLUMNS.items() if name not in LATER_COLUMNS}
    wrong = [f"{name} ({dtype})" for name, dtype in needed.items() if tokens.schema.get(name) != dtype]
    if wrong:
        raise BadInputError(f"{path} lacks the columns {', '.join(wrong)}: measure again into a new folder")
    return tokens


def _is_same(first: Any, second: Any) -> bool:
    if isinstance(first, pl.DataFrame) and isinstance(second, pl.DataFrame):
        return first.schema == second.schema and first.equals(second)
    return not isinstance(first, pl.DataFrame) and not isinstance(second, pl.DataFrame) and first == second


def _correlations(plain: dict[str, Any]) -> dict[str, Correlation]:
    if missing := STATISTICS.keys() - plain.keys():
        raise KeyError(f"no {', '.join(sorted(missing))}")
    return {name: Correlation.from_dict(value) for name, value in plain.items()}
