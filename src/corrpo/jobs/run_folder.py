"""The output folder of a run that can stop and go on: compared with its settings, and filled in parts.

While a run goes on, its folder holds `settings.json` and one `parts/NAME.parquet` per finished piece of work.
When it is done, the parts have become the final files and are gone. A run that meets a folder of other
settings refuses it and names what differs.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from corrpo.errors import BadInputError, DamagedFileError, OutputFolderError
from corrpo.jobs.files import read_json, read_parquet, write_json, write_parquet
from corrpo.jobs.folder_lock import locked_by_team
from corrpo.jobs.process_team import Team
from corrpo.jobs.settings_differences import differences_between

logger = logging.getLogger(__name__)

SETTINGS = "settings.json"
PARTS = "parts"


@dataclass(frozen=True)
class Part:
    """A piece of a run, with a file of its own.

    Attributes:
        name: of its file, without the ending.
        make: computes its table.
        size: how much work it is, in the unit in which progress is shown.
    """

    name: str
    make: Callable[[], pl.DataFrame]
    size: int


def make_parts(parts: Sequence[Part], advance: Callable[[int], None]) -> list[pl.DataFrame]:
    """The tables of all parts, made here and kept in memory; `advance` is called with the size of each."""
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
        with locked_by_team(self.path, self.team) as team:
            self._check_agreement(team)
            team.wait("agreed")
            if team.first:
                self._check_settings()
                for path in (*self.path.glob(".*.tmp"), *self.path.glob(f"{PARTS}/.*.tmp")):
                    path.unlink()
                for path in sorted(self.path.glob(f"{PARTS}/*.parquet")):
                    is_whole(lambda path=path: read_parquet(path), path)
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
            refuse_other_files(self.path, "this run")
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

        Alone, in order; with a team, the largest first, each by the process that is free. `advance` is called
        with the size of each part that is there, whoever made it.
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


def is_whole(read: Callable[[], object], to_remove: Path) -> bool:
    """Whether a result can be read; of one that is damaged a line is told, and `to_remove` is removed."""
    try:
        read()
    except DamagedFileError as error:
        logger.warning("%s; it is made again", str(error).partition(". Put back")[0])
        to_remove.unlink(missing_ok=True)
        return False
    return True


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
