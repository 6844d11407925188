"""One writer at a time: a folder or file held by one process."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from corrpo.errors import OutputFolderError
from corrpo.jobs.files import write_error

LOCK = ".lock"


@contextmanager
def locked_folder(folder: Path) -> Iterator[IO[str]]:
    """Hold a folder alone, made if missing, until the end or the death of this process.

    A child process that inherits the lock holds the folder as long as it lives. An `OutputFolderError` where
    another process holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("w")
    except OSError as error:
        raise write_error(folder, error) from error
    with lock:
        try:
            lock_file(lock, folder)
        except OSError as error:
            raise write_error(folder / LOCK, error) from error
        yield lock


def lock_file(file: IO[Any], path: Path) -> None:
    """Hold an open file alone, until it is closed or the death of this process; an error names `path`."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputFolderError(
            f"{path}: another process is writing there; wait for it, or give another --output"
        ) from None
