"""The output folder of a run that can stop and go on: compared with its settings, and filled in parts.

While a run goes on, its folder holds `settings.json` and one `parts/NAME.parquet` per finished piece of work.
When it is done, the parts have become the final files and are gone. A run that meets a folder of other
settings refuses it and names what differs.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import polars as pl

from corrpo.errors import DamagedFileError, OutputFolderError, first_line
from corrpo.jobs.files import read_json, read_parquet, write_error, write_json, write_parquet
from corrpo.jobs.folder_lock import locked_folder
from corrpo.jobs.settings_differences import differences_between
from corrpo.jobs.workers import ThisProcess, Workers

logger = logging.getLogger(__name__)

SETTINGS = "settings.json"
PARTS = "parts"


@dataclass(frozen=True)
class Part:
    """A piece of a run, with a file of its own.

    Attributes:
        name: of its file, without the ending.
        make: computes its table; it pickles if workers are to call it.
        size: how much work it is, in the unit in which progress is shown.
    """

    name: str
    make: Callable[[], pl.DataFrame]
    size: int

    def __str__(self) -> str:
        return self.name


def make_parts(parts: Sequence[Part], advance: Callable[[int], None]) -> list[pl.DataFrame]:
    """The tables of all parts, made here and kept in memory; `advance` is called with the size of each."""
    tables = []
    for part in parts:
        tables.append(part.make())
        advance(part.size)
    return tables


def _made(part: Part) -> pl.DataFrame:
    return part.make()


class RunFolder:
    """The output folder of one run: claimed, compared with earlier settings, filled part by part.

    Parts are made by workers, wherever they are; this process alone sees the folder and writes to it.

    Args:
        path: the folder; made if missing.
        settings: everything that decides the results, JSON-safe.

    Raises:
        OutputFolderError: another process writes to it; it holds a run with other settings (names them);
            it holds other files; it cannot be written to.
    """

    def __init__(self, path: Path, settings: dict[str, Any]):
        self.path = path
        self.settings = settings
        self._made: dict[str, pl.DataFrame] = {}

    @contextmanager
    def claimed(self) -> Iterator["RunFolder"]:
        """Hold the folder alone: check it, write the settings, and let go at the end."""
        with locked_folder(self.path):
            _check_settings(self.path, self.settings, whole=True)
            if not (self.path / SETTINGS).exists():
                write_json(self.path / SETTINGS, self.settings)
            for path in (*self.path.glob(".*.tmp"), *self.path.glob(f"{PARTS}/.*.tmp")):
                path.unlink()
            for path in sorted(self.path.glob(f"{PARTS}/*.parquet")):
                is_whole(lambda path=path: read_parquet(path), path)
            resumed = (self.path / PARTS).exists()
            try:
                yield self
            except (KeyError, pl.exceptions.PolarsError) as error:
                if not resumed:
                    raise
                raise OutputFolderError(
                    f"{self.path / PARTS} holds parts of another form than this corrpo writes ("
                    f"{first_line(error)}): remove it, and run the same command again"
                ) from error

    def make(
        self, parts: Sequence[Part], advance: Callable[[int], None], workers: Workers | None = None
    ) -> None:
        """See that every part is in the folder: those that are not are made, and written whole.

        In order in this process; by several workers, the largest first. `advance` is called with the size of
        each part that is there.
        """
        workers = workers or ThisProcess()
        there = [part for part in parts if self._path(part.name).exists()]
        advance(sum(part.size for part in there))
        left = [part for part in parts if part not in there]
        if workers.count > 1:
            left.sort(key=lambda part: -part.size)
        with closing(workers.map(_made, left, name=None)) as tables:
            for number, table in tables:
                self._keep(left[number].name, table)
                advance(left[number].size)

    def read(self, parts: Sequence[Part]) -> list[pl.DataFrame]:
        """The tables of parts that `make` has seen to, in order.

        Raises:
            OutputFolderError: a file of an earlier call was removed since.
        """
        names = [part.name for part in parts if part.name not in self._made]
        gone = [name for name in names if not self._path(name).exists()]
        if gone:
            raise OutputFolderError(
                f"{self.path / PARTS} has lost {len(gone)} files while they were needed (first: {gone[0]}); "
                "run the same command again, which makes them anew"
            )
        kept = (self._made.get(part.name) for part in parts)
        return [
            read_parquet(self._path(part.name)) if table is None else table
            for part, table in zip(parts, kept, strict=True)
        ]

    def _keep(self, name: str, table: pl.DataFrame) -> None:
        """Write a part, and hold it: a folder that is removed meanwhile is begun again and completed."""
        write_parquet(self._path(name), table)
        if not (self.path / SETTINGS).exists():
            write_json(self.path / SETTINGS, self.settings)
        self._made[name] = table

    def _path(self, name: str) -> Path:
        return self.path / PARTS / f"{name}.parquet"

    def drop_parts(self) -> None:
        """Remove the parts, once the final files are written."""
        folder = self.path / PARTS
        for path in sorted(folder.glob("*")) if folder.exists() else []:
            path.unlink()
        if folder.exists():
            folder.rmdir()


def is_whole(read: Callable[[], object], to_remove: Path) -> bool:
    """Whether a result can be read; of one that is damaged a line is told, and `to_remove` is removed."""
    try:
        read()
    except DamagedFileError as error:
        logger.warning("%s; it is made again", str(error).partition(". Put back")[0])
        to_remove.unlink(missing_ok=True)
        return False
    return True


def check_output(folder: Path, settings: dict[str, Any] | None = None) -> None:
    """Refuse an output folder before anything large is loaded for it; nothing is left in it.

    Args:
        folder: new, or of an earlier run.
        settings: those of a `RunFolder` that are known already, if it will be one.

    Raises:
        OutputFolderError: it cannot be made or written to; it holds other files or another run.
    """
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not place.is_dir():
        raise OutputFolderError(f"{place} is a file; give a new or an empty folder as --output")
    try:
        TemporaryFile(dir=place).close()
    except OSError as error:
        raise write_error(folder, error) from error
    if settings is not None and place == folder:
        _check_settings(folder, settings, whole=False)


def _check_settings(folder: Path, settings: dict[str, Any], *, whole: bool) -> None:
    """Compare the settings of an earlier run in a folder with these, which are all or some of a run's."""
    known = folder / SETTINGS
    if not known.exists():
        refuse_other_files(folder, "this run")
        return
    begun = read_json(known)
    if isinstance(begun, dict) and not whole:
        begun = {name: begun.get(name) for name in settings}
    differences = differences_between(begun, settings)
    if differences:
        raise OutputFolderError(
            f"{folder} holds a run with other settings: {'; '.join(differences)}. Use the same settings to "
            "go on with it, or give another --output"
        )


def refuse_other_files(folder: Path, owner: str) -> None:
    """See that a folder that is to be filled holds nothing yet; hidden files do not count.

    Raises:
        OutputFolderError: it holds files that are not of `owner`; names some.
    """
    others = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if others:
        raise OutputFolderError(
            f"{folder} holds files that are not of {owner} ({', '.join(others[:5])}); give an empty or a "
            "new folder as --output"
        )
