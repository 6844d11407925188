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
    """A bar on standard error, to be entered as a context.

    Args:
        shown: without, it takes everything and shows nothing.
        description: format of a task's description.
        transient: it vanishes at the end.
        console: in place of standard error.
    """
    columns = (TextColumn(description), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    console = console or Console(stderr=True)
    return Progress(*columns, *times, console=console, transient=transient, disable=not shown)
