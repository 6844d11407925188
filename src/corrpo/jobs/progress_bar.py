"""The bar that long work shows: what is done, of how much, the time gone and the time left."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def progress_bar(
    *,
    shown: bool,
    description: str = "{task.description}",
    transient: bool = False,
    console: Console | None = None,
) -> Progress:
    """A bar on standard error (or a console), to be entered as a context; it shows nothing unless `shown`."""
    columns = (TextColumn(description), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    console = console or Console(stderr=True)
    return Progress(*columns, *times, console=console, transient=transient, disable=not shown)
