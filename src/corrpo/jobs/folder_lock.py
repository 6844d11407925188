"""One writer at a time: a folder or file held by one process, or by all processes of a team together."""

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from corrpo.errors import OutputFolderError
from corrpo.jobs.files import write_error, write_text
from corrpo.jobs.process_team import Team

LOCK = ".lock"
_SHARED_WITHIN = 30.0
"""Seconds that a file may take to be seen from another machine."""


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


@contextmanager
def locked_by_team(folder: Path, team: Team) -> Iterator[Team]:
    """Hold a folder for all processes of a team, and see that all of them see it."""
    with ExitStack() as held, team.together() as together:  # together ends first: nobody writes any more
        if together.first:
            held.enter_context(locked_folder(folder))
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
