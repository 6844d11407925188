"""Records of samples from wherever they lie: JSON lines or an array, gzipped or not, Parquet, CSV, a folder.

JSON and CSV are read here, so that a broken line is named and a field of CSV is the text that stands there;
everything else is read by the datasets library.
"""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from corrpo.errors import BadInputError, require_packages

Record = tuple[str, Any]
"""Where a record was given, for messages, and what was given there."""

_TABLES = {".parquet": "parquet", ".arrow": "arrow"}
_MARK = b"\xef\xbb\xbf"


def records_of_path(path: Path) -> list[Record]:
    """The records of a file or of a folder that `Dataset.save_to_disk` wrote.

    Raises:
        BadInputError: it cannot be read, or a line is not UTF-8, not JSON or no row of its CSV; names the
            file and the line.
    """
    if path.is_dir():
        return _rows_of_folder(path)
    kind = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if kind in _TABLES:
        return _rows_of_table(path, _TABLES[kind])
    content = _content(path)
    if kind == ".csv":
        return _rows_of_csv(path, content)
    if content.removeprefix(_MARK).lstrip().startswith(b"["):
        return _items_of_array(path, content)
    records = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        where = f"{path} line {number}"
        if line.strip():
            records.append((where, _parsed(where, line)))
    return records


def records_of_rows(rows: Iterable[Any]) -> list[Record]:
    """The records of a list, a `datasets.Dataset` or another iterable; a text is a prompt.

    Raises:
        BadInputError: a `DatasetDict`, of which a split must be chosen; one sample alone; no iterable.
    """
    if (isinstance(rows, Mapping) and not hasattr(rows, "column_names")) or not isinstance(rows, Iterable):
        raise BadInputError(
            f"samples of type {type(rows).__name__}: expected a path, or a list or other iterable of them"
        )
    if hasattr(rows, "column_names") and isinstance(rows, dict):
        raise BadInputError(f"a DatasetDict holds the splits {', '.join(rows)}: give one of them")
    return [
        (f"sample {number}", {"prompt": row} if isinstance(row, str) else row)
        for number, row in enumerate(rows)
    ]


def _content(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise BadInputError(f"cannot read samples from {path}: {reason}") from error


def _decoded(where: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInputError(f"{where} is not UTF-8 text: {error}") from error


def _parsed(where: str, content: bytes) -> Any:
    text = _decoded(where, content)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{where} is not valid JSON: {error}") from error


def _items_of_array(path: Path, content: bytes) -> list[Record]:
    return [(f"{path} item {number}", item) for number, item in enumerate(_parsed(str(path), content))]


def _rows_of_csv(path: Path, content: bytes) -> list[Record]:
    """The rows below the header, each field the text that stands there; an empty or missing one is None."""
    text = _decoded(str(path), content)
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # a response may be longer than csv expects
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    names: list[str] = []
    records: list[Record] = []
    line = 1
    try:
        for fields in reader:
            where, line = f"{path} line {line}", reader.line_num + 1
            if names and fields:
                records.append((where, _row(where, names, fields)))
            elif fields:
                names = _header(where, fields)
    except csv.Error as error:
        raise BadInputError(f"{path} line {line} is not valid CSV: {error}") from error
    return records


def _header(where: str, names: list[str]) -> list[str]:
    twice = [name for name in names if name and names.count(name) > 1]
    if twice:
        raise BadInputError(f"{where}: two columns are called {twice[0]!r}; rename one")
    return names


def _row(where: str, names: list[str], fields: list[str]) -> dict[str, str | None]:
    if len(fields) > len(names):
        raise BadInputError(
            f"{where}: {len(fields)} fields for the {len(names)} columns of the header; a field with a "
            "comma, a quote or a line break in it stands in double quotes"
        )
    return dict.fromkeys(names) | {name: field or None for name, field in zip(names, fields, strict=False)}


def _rows_of_table(path: Path, kind: str) -> list[Record]:
    require_packages(f"reading {path.name}", "datasets", extra="train")
    import datasets

    if not path.exists():
        raise BadInputError(f"cannot read samples from {path}: No such file or directory")
    try:
        rows = datasets.load_dataset(kind, data_files=str(path), split="train")
    except (
        Exception
    ) as error:  # readers of formats raise what they like; it is passed on with the file's name
        raise BadInputError(f"cannot read samples from {path}: {error.__cause__ or error}") from error
    return _numbered(path, rows)


def _rows_of_folder(path: Path) -> list[Record]:
    require_packages(f"reading the folder {path.name}", "datasets", extra="train")
    import datasets

    splits = path / "dataset_dict.json"
    if splits.exists():
        names = _parsed(str(splits), _content(splits)).get("splits", [])
        listed = " or ".join(str(path / name) for name in names)
        raise BadInputError(f"{path} holds the splits {', '.join(names)}: give the folder of one, {listed}")
    if not (path / "state.json").exists():
        raise BadInputError(
            f"{path} is a folder without a dataset in it; expected a file of samples (JSON lines, JSON, "
            "Parquet, CSV) or a folder that Dataset.save_to_disk wrote"
        )
    try:
        rows = datasets.load_from_disk(str(path))
    except Exception as error:  # as above
        raise BadInputError(f"cannot read samples from {path}: {error}") from error
    return _numbered(path, rows)


def _numbered(path: Path, rows: Iterable[Any]) -> list[Record]:
    return [(f"{path} row {number}", row) for number, row in enumerate(rows)]
