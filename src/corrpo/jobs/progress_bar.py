"""What long work shows on standard error: what is done, of how much, the time gone and the time left."""

import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from corrpo.jobs.console import Console

BETWEEN_LINES = 30.0
"""Seconds from one line of progress to the next, where there is no terminal."""
_SPEED_PERIOD = 600.0
"""Seconds of which the speed is taken: parts of long work may take minutes."""


def progress_bar(
    *,
    shown: bool,
    description: str = "{task.description}",
    transient: bool = False,
    console: Console | None = None,
) -> Progress:
    """Progress on standard error (or a console), to be entered as a context; nothing unless `shown`.

    A bar in a terminal; in files and pipes a line every `BETWEEN_LINES` seconds.
    """
    console = console or Console(stderr=True, soft_wrap=True)
    if shown and not console.is_terminal:
        return _Lines(console=console, disable=True, speed_estimate_period=_SPEED_PERIOD)
    columns = (TextColumn(description), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(
        *columns,
        *times,
        console=console,
        transient=transient,
        disable=not shown,
        speed_estimate_period=_SPEED_PERIOD,
    )


def with_progress(items: Sequence[Any], description: str) -> Iterator[Any]:
    """The items, one after another, with their number as progress that vanishes at the end."""
    with progress_bar(shown=True, transient=True) as bar:
        yield from bar.track(items, description=description)


class _Lines(Progress):
    """Progress of which a line is printed now and then, and that draws nothing (`disable`)."""

    def start(self) -> None:
        """Begin to print."""
        self._ended = threading.Event()
        self._printing = threading.Thread(target=self._print, daemon=True)
        self._printing.start()

    def stop(self) -> None:
        """Print no more."""
        self._ended.set()
        self._printing.join()

    def _print(self) -> None:
        while not self._ended.wait(BETWEEN_LINES):
            for task in self.tasks:
                if task.started and not task.finished:
                    self.console.print(progress_line(task), highlight=False, markup=False)


def progress_line(task: Task) -> str:
    """What is done of a task, in a line.

    >>> progress = Progress(disable=True, get_time=iter(range(0, 10_000, 60)).__next__)
    >>> task = progress.add_task("tokens", total=4000)
    >>> progress.advance(task, 1000)
    >>> progress_line(progress.tasks[0]).split(",")[0]
    'tokens 1000 of 4000 (25 %)'
    """
    total = "" if task.total is None else f" of {task.total:.0f} ({task.percentage:.0f} %)"
    times = [
        f"{timedelta(seconds=round(seconds))} {what}"
        for seconds, what in ((task.elapsed, "gone"), (task.time_remaining, "left"))
        if seconds is not None
    ]
    return ", ".join([f"{task.description} {task.completed:.0f}{total}", *times])
