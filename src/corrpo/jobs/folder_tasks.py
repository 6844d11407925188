"""Tasks that fill a folder, by workers that see it or, on other machines, in a folder that comes back.

Where workers do not see the folders of this process, the files of a job's folder go with it, the task fills a
temporary folder there, and its files take the place of those here: a task that is lost is begun again from
what was here.
"""

import os
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Protocol, TypeVar, runtime_checkable

from corrpo.errors import OutputFolderError
from corrpo.jobs.files import whole_file, write_error
from corrpo.jobs.folder_lock import locked_folder
from corrpo.jobs.outcome import Outcome
from corrpo.jobs.workers import Workers


@runtime_checkable
class Job(Protocol):
    """A frozen dataclass with the folder that a task fills."""

    @property
    def folder(self) -> Path:
        """Its files are those of no other job."""
        ...


AnyJob = TypeVar("AnyJob", bound=Job)
Files = dict[str, tuple[bytes, int]]
"""Content, and time of last change in ns, of the files of a folder, by their path in it."""


def fill_folders(
    workers: Workers,
    task: Callable[[AnyJob], Outcome[Any]],
    jobs: Sequence[AnyJob],
    *,
    lost: Callable[[AnyJob, str], Outcome[Any]],
) -> Generator[tuple[int, Outcome[Any]], None, None]:
    """`Workers.map` of a task that fills `job.folder`; the files are here when the outcome is.

    Raises:
        OutputFolderError: what came back cannot be written.
    """
    if workers.share_folders:
        yield from workers.map(task, jobs, lost=lost)
        return
    inner = {job.folder: {one.folder for one in jobs if job.folder in one.folder.parents} for job in jobs}

    def pack(job: AnyJob) -> tuple[AnyJob, Files]:
        return job, _packed(job.folder, inner[job.folder])

    def nothing(job: AnyJob, why: str) -> tuple[Outcome[Any], Files | None]:
        return lost(job, why), None

    for number, (outcome, files) in workers.map(partial(_fill, task), jobs, lost=nothing, pack=pack):
        if files is not None:
            _unpack(files, jobs[number].folder, inner[jobs[number].folder])
        yield number, outcome


def _fill(
    task: Callable[[Any], Outcome[Any]], packed: tuple[Any, Files]
) -> tuple[Outcome[Any], Files | None]:
    job, files = packed
    with _temporary_folder() as temporary:
        folder = temporary / job.folder.name
        _unpack(files, folder)
        outcome = task(replace(job, folder=folder))
        if outcome.reason is not None:
            outcome.reason = outcome.reason.replace(str(folder), str(job.folder))
        return outcome, _packed(folder)


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """An empty folder; those of processes that were killed are removed first, as they may be large."""
    try:
        new = Path(mkdtemp(prefix=".corrpo-worker-"))
    except OSError as error:
        raise write_error(Path(error.filename or "a temporary folder"), error) from error
    for other in new.parent.glob("corrpo-worker-*"):
        with suppress(OutputFolderError), locked_folder(other):
            shutil.rmtree(other, ignore_errors=True)
    with locked_folder(new):
        folder = new.rename(new.with_name(new.name.removeprefix(".")))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _paths(folder: Path, inner: Set[Path] = frozenset()) -> list[Path]:
    """Files below a folder that are neither hidden nor below `inner` folders; records last."""
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    own = [path for path in paths if inner.isdisjoint(path.parents)]
    return sorted(own, key=lambda path: (path.suffix == ".json", -len(path.parts)))


def _packed(folder: Path, inner: Set[Path] = frozenset()) -> Files:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in _paths(folder, inner)
    }


def _unpack(files: Files, folder: Path, inner: Set[Path] = frozenset()) -> None:
    """Make the files of a folder these, each whole; what tells that a result is there comes last."""
    for path in _paths(folder, inner):
        if str(path.relative_to(folder)) not in files:
            path.unlink()
    for name, (content, changed) in files.items():
        with whole_file(folder / name) as temporary:
            temporary.write_bytes(content)
            os.utime(temporary, ns=(changed, changed))
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and path not in inner and not any(path.iterdir()):
            path.rmdir()
