"""The files of a fingerprint as the viewer reads them: in parts, and with errors that name the file.

Token columns of the last few results are kept in memory; norms are read for one sample at a time.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from corrpo.errors import BadInputError
from corrpo.jobs.checksums import check_content
from corrpo.jobs.files import read_checked_bytes, read_json, read_versioned
from corrpo.measurement.fingerprint import SCHEMA_VERSION
from corrpo.measurement.fingerprint_format import (
    FINGERPRINT,
    LATER_COLUMNS,
    READ_FILES,
    RESPONSES,
    TOKEN_COLUMNS,
    TOKENS,
    with_later_columns,
)
from corrpo.statistics import Correlation

COLUMNS = {
    name: pl.Int64 if column.dtype.is_integer() else column.dtype
    for name, column in TOKEN_COLUMNS.items()
    if name != "norms"
}
FLOATS = [name for name, dtype in COLUMNS.items() if dtype == pl.Float64]
KEPT_TABLES, KEPT_SAMPLES = 3, 16


def fingerprint_folders(folder: Path) -> list[Path]:
    """The finished fingerprints in a folder and below, in the order of names.

    Raises:
        BadInputError: there are none, or a file of one is a link that leads out of the folder.
    """
    if not folder.is_dir():
        raise BadInputError(f"{folder} is not a folder; give one that corrpo measure or track wrote")
    folders = sorted(path.parent for path in folder.glob(f"**/{FINGERPRINT}"))
    if not folders:
        raise BadInputError(
            f"{folder} holds no {FINGERPRINT}, nor do the folders below; give a folder that corrpo "
            "measure or track wrote, to the end"
        )
    for path in (inner / name for inner in folders for name in READ_FILES):
        if not path.resolve().is_relative_to(folder.resolve()):
            raise BadInputError(f"{path} is a link that leads out of {folder}; give the folder it leads to")
    return folders


def read_summary(folder: Path) -> dict[str, Any]:
    """fingerprint.json, with all that the viewer shows of it in its place.

    Raises:
        BadInputError: it cannot be read, its schema is another, or something is missing; names it.
    """
    path = folder / FINGERPRINT
    summary = read_versioned(path, SCHEMA_VERSION)
    try:
        Correlation.from_dict(summary["statistics"]["spearman"])
        for part, name in (("model", "name"), ("samples", "name"), ("settings", "estimator")):
            summary[part][name]
    except (KeyError, TypeError) as error:
        raise BadInputError(f"{path} is not whole: {error!r} where it is expected; measure again") from error
    return summary


def read_responses(folder: Path) -> dict[str, dict[str, Any]]:
    """The rows of responses.jsonl by sample.

    Raises:
        BadInputError: the file is missing, or a line is no JSON object with an id and a prompt; names it.
    """
    path = folder / RESPONSES
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInputError(f"cannot read {path}: {error.strerror or error}; measure again") from error
    rows = {}
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            row = json.loads(line)
            rows[str(row["id"])] = row | {"prompt": row["prompt"]}
        except (ValueError, KeyError, TypeError) as error:
            raise BadInputError(
                f"{path} line {number} is not a response of corrpo measure ({error!r}); measure again"
            ) from error
    check_content(path, content, read_json(folder / FINGERPRINT).get("responses_sha256"))
    return rows


@lru_cache(maxsize=KEPT_TABLES)
def token_table(folder: Path) -> pl.DataFrame:
    """tokens.parquet but for the norms: the tokens of a sample together, samples in order of appearance.

    Columns: those of `COLUMNS`, and row (uint32), where in the file a token stands. Values that are not
    finite, and the ranks of files that have none, are null.
    """
    path = folder / TOKENS
    read_checked_bytes(path)
    with _errors_that_name(path):
        scanned = pl.scan_parquet(path)
        have = scanned.collect_schema().names()
        missing = [name for name in COLUMNS if name not in have and name not in LATER_COLUMNS]
        if missing:
            raise BadInputError(f"{path} has no column {', '.join(missing)}; measure again")
        present = scanned.select(name for name in COLUMNS if name in have).collect()
        columns = [pl.col(name).cast(kind) for name, kind in COLUMNS.items()]
        table = with_later_columns(present).select(columns).with_row_index("row")
    if not table.height:
        raise BadInputError(f"{path} has no tokens; there is nothing to view")
    finite = [pl.when(pl.col(name).is_finite()).then(pl.col(name)) for name in FLOATS if name != "logprob"]
    table = table.with_columns(finite)
    if table["sample"].rle_id().n_unique() == table["sample"].n_unique() and _in_order(table):
        return table
    first = pl.col("row").min().over("sample")
    return table.sort(first, "position", "row")


def _in_order(table: pl.DataFrame) -> bool:
    step = table.select((pl.col("position").diff() > 0) | (pl.col("sample") != pl.col("sample").shift()))
    return bool(step.to_series().fill_null(True).all())


@lru_cache(maxsize=KEPT_SAMPLES)
def sample_norms(folder: Path, start: int, end: int) -> list[list[list[float | None]] | None]:
    """The norms of the rows from `start` to `end` of `token_table`, each a list per layer of lists.

    None for a token that was not measured, and for a norm that is not finite.
    """
    path = folder / TOKENS
    rows = token_table(folder)["row"][start:end].to_list()
    first, last = min(rows), max(rows)
    with _errors_that_name(path):
        norms = pl.scan_parquet(path).select("norms").slice(first, last - first + 1).collect()["norms"]
        finite = pl.when(pl.element().is_finite()).then(pl.element())
        norms = norms.gather([row - first for row in rows]).list.eval(pl.element().list.eval(finite))
    return norms.to_list()


@contextmanager
def _errors_that_name(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BadInputError(f"cannot read {path}: {error}; measure again") from error
