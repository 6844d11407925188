"""Files of a measurement: written whole or not at all, resumable, one writer at a time.

While a run goes on, its folder holds `settings.json` and one `parts/NAME.*` per finished piece of work. When
it is done, the parts have become the final files and are gone. A run that finds a folder of other settings
refuses it and names what differs.
"""

import errno
import fcntl
import io
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import polars as pl

from corrpo.errors import BadInputError, OutputFolderError
from corrpo.jobs.team import Team

SETTINGS = "settings.json"
LOCK = ".lock"
PARTS = "parts"
_SHARED_WITHIN = 30.0
"""Seconds that a file may take to be seen from another machine."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it becomes `path` at the end, and vanishes on an error.

    Raises:
        OutputFolderError: the disk is full, or the folder cannot be written to. Files that were already
            complete stay as they are.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _cannot_write(path: Path, error: OSError) -> OutputFolderError:
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
    """Write JSON whole, readable by every parser: NaN and infinities are refused."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_parquet(path: Path, table: pl.DataFrame) -> None:
    """Write a Parquet file whole."""
    content = io.BytesIO()
    table.write_parquet(content)
    with whole_file(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def read_parquet(path: Path) -> pl.DataFrame:
    """Read a Parquet file.

    Raises:
        BadInputError: the file is missing or is no Parquet; names it.
    """
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BadInputError(f"cannot read {path}: {error}; remove it and measure again") from error


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        BadInputError: the file is missing or is not JSON; names the file and the line.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInputError(f"{path} does not exist") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path} is not valid JSON: {error}") from error


def read_versioned(path: Path, version: int, again: str = "measure again") -> Any:
    """Read a JSON record of a certain schema version.

    Raises:
        BadInputError: as `read_json`, or the version is another; says what to do `again`.
    """
    record = read_json(path)
    found = record.get("schema_version") if isinstance(record, dict) else None
    if found != version:
        raise BadInputError(f"{path} has schema version {found!r}; this corrpo reads {version}: {again}")
    return record


@contextmanager
def locked(folder: Path) -> Iterator[IO[str]]:
    """Hold a folder alone, made if missing, until the end or the death of this process.

    Yields:
        The lock: a child process that inherits it holds the folder as long as it lives.

    Raises:
        OutputFolderError: another process holds it, or it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("w")
    except OSError as error:
        raise _cannot_write(folder, error) from error
    with lock:
        try:
            hold(lock, folder)
        except OSError as error:
            raise _cannot_write(folder / LOCK, error) from error
        yield lock


def hold(file: IO[Any], what: Path) -> None:
    """Hold an open file alone, until it is closed or the death of this process.

    Args:
        file: to be locked.
        what: the file or folder that is held by it, for people.

    Raises:
        OutputFolderError: another process holds it.
        OSError: it cannot be locked.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputFolderError(
            f"{what}: another process is writing there; wait for it, or give another --output"
        ) from None


@contextmanager
def held_together(folder: Path, team: Team) -> Iterator[Team]:
    """Hold a folder for all processes of a team, and see that all of them see it.

    Yields:
        The team of this stretch of work (`Team.together`).

    Raises:
        OutputFolderError: as `locked`; or the folder of one process is not that of another.
    """
    with ExitStack() as held, team.together() as together:  # together ends first: nobody writes any more
        if together.first:
            held.enter_context(locked(folder))
        if together.size > 1:
            _check_shared(folder, together)
        yield together


def _check_shared(folder: Path, team: Team) -> None:
    host = socket.gethostname()
    token, first_host = team.from_first(lambda: (f".seen-{uuid4().hex}", host))
    if team.first:
        write_text(folder / token, "")
    team.wait("token")
    deadline = time.monotonic() + _SHARED_WITHIN
    while not (folder.is_dir() and token in os.listdir(folder)):
        if time.monotonic() > deadline:
            raise OutputFolderError(
                f"process {team.rank} on {host} does not see in {folder} what process 0 on {first_host} "
                "wrote there: processes on several machines need a folder that all of them share, as --output"
            )
        time.sleep(0.1)
    team.wait("seen")
    if team.first:
        (folder / token).unlink()


def refuse_strangers(folder: Path, owner: str) -> None:
    """See that a folder that is to be filled holds nothing yet; hidden files do not count.

    Raises:
        OutputFolderError: it holds files that are not of `owner`; names some.
    """
    strangers = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if strangers:
        raise OutputFolderError(
            f"{folder} holds files that are not of {owner} ({', '.join(strangers[:5])}); give an empty or a "
            "new folder as --output"
        )


@dataclass(frozen=True)
class Part:
    """A piece of a run, whole by itself.

    Attributes:
        name: of its file, without the ending.
        make: computes its table.
        size: how much work it is, in the unit in which progress is shown.
    """

    name: str
    make: Callable[[], pl.DataFrame]
    size: int


def make_parts(parts: Sequence[Part], advance: Callable[[int], None]) -> list[pl.DataFrame]:
    """The tables of all parts, made here and kept in memory.

    Args:
        parts: what to make.
        advance: told the size of each part that is there.
    """
    tables = []
    for part in parts:
        tables.append(part.make())
        advance(part.size)
    return tables


class RunFolder:
    """The output folder of one run: claimed, compared with earlier settings, filled part by part.

    With a team, the first process holds the folder and writes what there is one of; parts are made by whoever
    is free. All its processes must see the folder under the same path.

    Args:
        path: the folder; made if missing.
        settings: everything that decides the results, JSON-safe.
        team: the processes that share the work.

    Raises:
        OutputFolderError: another process writes to it; it holds a run with other settings (names them);
            it holds other files; it cannot be written to; a process of the team does not see it.
        BadInputError: a process of the team has other settings than the first.
    """

    def __init__(self, path: Path, settings: dict[str, Any], team: Team | None = None):
        self.path = path
        self.settings = settings
        self.team = team or Team()

    @contextmanager
    def claimed(self) -> Iterator["RunFolder"]:
        """Hold the folder alone: check it, write the settings, and let go at the end."""
        with held_together(self.path, self.team) as team:
            self._check_agreement(team)
            team.wait("agreed")
            if team.first:
                self._check_settings()
                for path in (*self.path.glob(".*.tmp"), *self.path.glob(f"{PARTS}/.*.tmp")):
                    path.unlink()
            team.wait("checked")
            yield RunFolder(self.path, self.settings, team)

    def _check_agreement(self, team: Team) -> None:
        differences = differences_between(team.from_first(lambda: self.settings), self.settings)
        if differences:
            raise BadInputError(
                f"process {team.rank} was given another run than process 0: {'; '.join(differences)} "
                f"(process 0's first). Give all the same model, samples, settings and versions"
            )

    def _check_settings(self) -> None:
        known = self.path / SETTINGS
        if not known.exists():
            refuse_strangers(self.path, "this run")
            write_json(known, self.settings)
            return
        differences = differences_between(read_json(known), self.settings)
        if differences:
            raise OutputFolderError(
                f"{self.path} holds a run with other settings: {'; '.join(differences)}. Use the same "
                "settings to go on with it, or give another --output"
            )

    def make(self, parts: Sequence[Part], advance: Callable[[int], None]) -> None:
        """See that every part is in the folder: those that are not are made, and written whole.

        Alone, in order; with a team, the largest first, each by the process that is free.

        Args:
            parts: the same on every process.
            advance: told the size of each part that is there, whoever made it.
        """
        waiting = {part.name: part.size for part in parts}

        def look() -> None:
            for name in [name for name in waiting if self._path(name).exists()]:
                advance(waiting.pop(name))

        alone = self.team.size == 1
        for part in parts if alone else sorted(parts, key=lambda part: -part.size):
            if not self._path(part.name).exists() and self.team.claim(part.name):
                write_parquet(self._path(part.name), part.make())
            self.team.check()
            if self.team.first:
                look()  # of the others' parts too
        self.team.wait(f"made {parts[0].name}" if parts else "nothing", look if self.team.first else None)
        look()

    def read(self, parts: Sequence[Part]) -> list[pl.DataFrame]:
        """The tables of parts that `make` has seen to, in order."""
        return [read_parquet(self._path(part.name)) for part in parts]

    def _path(self, name: str) -> Path:
        return self.path / PARTS / f"{name}.parquet"

    def drop_parts(self) -> None:
        """Remove the parts, once the final files are written."""
        folder = self.path / PARTS
        for path in sorted(folder.glob("*")) if folder.exists() else []:
            path.unlink()
        if folder.exists():
            folder.rmdir()


def differences_between(before: Any, now: Any, name: str = "") -> list[str]:
    """Where two JSON values differ, a line for each place.

    >>> differences_between({"seed": 0, "layers": None}, {"seed": 1, "layers": None})
    ['seed was 0, now 1']
    """
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [*before, *(key for key in now if key not in before)]
        return [
            line
            for key in keys
            for line in differences_between(
                before.get(key), now.get(key), f"{name}.{key}" if name else str(key)
            )
        ]
    return [] if before == now else [f"{name} was {before!r}, now {now!r}"]
