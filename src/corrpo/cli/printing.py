"""What commands print, and where: results on standard output, remarks and progress on standard error."""

import json
import os
import select
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TextIO

from tyro.conf import arg

from corrpo.errors import BadInputError, CorrpoError

Output = Annotated[Path, arg(aliases=("-o",))]
"""The folder or file of a command's results."""
OptionalOutput = Annotated[Path | None, arg(aliases=("-o",))]
READER_GONE = 141
"""The exit status of a command whose output nobody reads any more, as a shell gives it (128 + SIGPIPE)."""


@dataclass(frozen=True, kw_only=True)
class Quietable:
    """The option of a command that can be silent."""

    quiet: bool = False
    """Print results and errors alone: no progress, no remarks."""


@dataclass(frozen=True, kw_only=True)
class Printed(Quietable):
    """The options of a command whose results can be one JSON object, which its `run` returns."""

    json: bool = False
    """Print the results as one JSON object on standard output, in place of tables and paths."""


def refuse_json(options: Printed, what: str) -> None:
    """Raise `BadInputError` if JSON was asked of what has none."""
    if options.json:
        raise BadInputError(f"--json prints results, which {what} not give: leave one of them out")


class UnfinishedError(CorrpoError):
    """A part of the work failed, and `results` are those of the rest."""

    def __init__(self, message: str, results: dict[str, Any] | None):
        super().__init__(message)
        self.results = results


@contextmanager
def printed(options: Quietable) -> Iterator[list[dict[str, Any] | None]]:
    """Print as `options` say; what is put into the list that is yielded is printed if JSON was asked for."""
    results: list[dict[str, Any] | None] = []
    with_json = isinstance(options, Printed) and options.json
    try:
        with ExitStack() as stack:
            nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            if options.quiet:
                stack.enter_context(redirect_stderr(nowhere))
            if with_json:
                stack.enter_context(redirect_stdout(nowhere))
            yield results
    except UnfinishedError as error:
        results.append(error.results)
        raise
    finally:
        for result in results:
            if with_json and result is not None:
                print(json.dumps(result, allow_nan=False))


def reader_is_gone() -> bool:
    """Whether nobody reads standard output or error any more; then both lead nowhere from here on.

    Python flushes them once more when it ends, which would fail again.
    """
    streams = [stream for stream in (sys.stdout, sys.stderr) if _is_broken(stream)]
    for stream in streams:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    return bool(streams)


def _is_broken(stream: TextIO) -> bool:
    poll = select.poll()
    try:
        poll.register(stream, 0)
    except (OSError, ValueError):  # no file of the system, as under a test
        return False
    return any(event & select.POLLERR for _, event in poll.poll(0))
