"""One writer at a time: a folder or file held by one process."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from corrpo.errors import OutputFolderError
from corrpo.jobs.files import write_error

LOCK = ".lock"
TIME_TO_END = 20.0
"""Seconds that the processes of a killed command may take to end: the `patience` of who comes after it."""


@contextmanager
def locked_folder(folder: Path, patience: float = 0.0) -> Iterator[IO[str]]:
    """Hold a folder alone, made if missing, until the end or the death of this process.

    A child process that inherits the lock holds the folder as long as it lives. An `OutputFolderError` where
    another process still holds it after `patience` seconds. A folder that was made here and that nothing was
    written into is removed at the end.
    """
    made = not folder.exists()
    with _locked(folder, patience) as lock:
        try:
            yield lock
        finally:
            if made:
                _remove_if_empty(folder)


def _locked(folder: Path, patience: float) -> IO[str]:
    """The open lock of a folder, held; that of a folder which was removed meanwhile is opened anew."""
    deadline = time.monotonic() + patience
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = (folder / LOCK).open("w")
        except OSError as error:
            raise write_error(folder, error) from error
        try:
            lock_file(lock, folder)
        except OutputFolderError:
            lock.close()
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.2)
        except OSError as error:
            lock.close()
            raise write_error(folder / LOCK, error) from error
        else:
            if _is_there(lock, folder):
                return lock
            lock.close()


def _is_there(lock: IO[str], folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(lock.fileno()), (folder / LOCK).stat())
    except FileNotFoundError:
        return False


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        if [path.name for path in folder.iterdir()] == [LOCK]:
            (folder / LOCK).unlink()
            folder.rmdir()


def lock_file(file: IO[Any], path: Path) -> None:
    """Hold an open file alone, until it is closed or the death of this process; an error names `path`."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputFolderError(
            f"{path}: another process is writing there; wait for it, or give another output folder"
        ) from None
