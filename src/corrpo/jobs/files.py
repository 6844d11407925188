"""Files written whole or not at all, and read with errors that name them: text, JSON, Parquet."""

import errno
import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import polars as pl

from corrpo.errors import BadInputError, CorrpoError, DamagedFileError, OutputFolderError, first_line
from corrpo.jobs.checksums import BLANK, PARQUET_KEY, check_parquet, sealed, with_checksum, without_checksum


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it becomes `path` at the end, and vanishes on an error.

    A disk that is full or a folder that cannot be written to is an `OutputFolderError`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        with suppress(OSError):  # or it would take the place of the error
            temporary.unlink(missing_ok=True)


def write_error(path: Path, error: OSError) -> OutputFolderError:
    """The error to raise where `path` could not be written: a full disk, or what the system says."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputFolderError(
            f"no room on the disk to write {path}; what was finished before is kept: free some room and run "
            "the same command again to go on"
        )
    return OutputFolderError(f"cannot write {path}: {error.strerror or error}")


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole; a lone surrogate is written as its escape `\\udXXX`."""
    with whole_file(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, content: Any) -> None:
    """Write JSON whole, readable by every parser: NaN and infinities are refused.

    An object is written with its checksum as its last entry.
    """
    content = with_checksum(content) if isinstance(content, dict) else content
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_parquet(path: Path, table: pl.DataFrame) -> None:
    """Write a Parquet file whole, with its checksum."""
    content = io.BytesIO()
    table.write_parquet(content, metadata={PARQUET_KEY: BLANK})
    with whole_file(path) as temporary:
        temporary.write_bytes(sealed(content.getvalue()))


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Read a Parquet file, or some columns of it.

    Raises:
        BadInputError: the file is missing; names it.
        DamagedFileError: it is no Parquet, or its checksum is another.
    """
    content = read_checked_bytes(path)
    try:
        return pl.read_parquet(io.BytesIO(content), columns=None if columns is None else list(columns))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DamagedFileError(f"cannot read {path}: {error}; remove it and measure again") from error


def read_checked_bytes(path: Path) -> bytes:
    """The bytes of a Parquet file, whose checksum, if it has one, is right; errors as of `read_parquet`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInputError(
            f"cannot read {path}: {error.strerror or error}; remove it and measure again"
        ) from error
    check_parquet(path, content)
    return content


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        BadInputError: the file is missing; names it.
        DamagedFileError: it is not JSON (names the line), or its checksum is another.
    """
    try:
        return without_checksum(path, json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise BadInputError(f"{path} does not exist") from None
    except OSError as error:
        raise BadInputError(f"cannot read {path}: {error.strerror or error}") from error
    except CorrpoError:
        raise
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path} is not valid JSON: {error}") from error


@contextmanager
def results_read(folder: Path, again: str = "measure again into a new folder") -> Iterator[None]:
    """What goes wrong while a folder of results is read becomes a `BadInputError` that says what to do."""
    try:
        yield
    except CorrpoError:
        raise
    except OSError as error:
        raise BadInputError(f"cannot read {error.filename or folder}: {error.strerror}; {again}") from error
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
        pl.exceptions.PolarsError,
    ) as error:
        raise BadInputError(
            f"{folder} does not hold results as corrpo writes them ({type(error).__name__}: "
            f"{first_line(error)}); {again}"
        ) from error


def read_versioned(path: Path, version: int, again: str = "measure again") -> Any:
    """Read a JSON record of a certain schema version.

    Raises:
        BadInputError: as `read_json`, or the version is another; says what to do `again`.
    """
    record = read_json(path)
    given = record.get("schema_version") if isinstance(record, dict) else None
    if given != version:
        raise BadInputError(f"{path} has schema version {given!r}; this corrpo reads {version}: {again}")
    return record
