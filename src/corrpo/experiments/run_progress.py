"""How far the runs of an experiment are: those that are finished, and the steps that all have logged."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from corrpo.jobs.console import Console
from corrpo.jobs.progress_bar import progress_bar
from corrpo.training.cost_file import COST

BETWEEN_LOOKS = 5.0
"""Seconds from one look at the folders of the runs to the next."""


@contextmanager
def shown_progress(
    runs: int, finished: int, steps_of: Mapping[Path, int | None], *, shown: bool, console: Console
) -> Iterator[Callable[[], None]]:
    """Show runs and steps on `console` within the block, and yield what to call when a run is finished.

    Args:
        runs: all of them.
        finished: how many are already.
        steps_of: for the folder of each training its steps, None or -1 where epochs count: then there is no
            total. They are read from cost.jsonl, whichever process trains; from another machine when the
            folder is back.
        shown: whether anything is.
        console: where.
    """
    if not shown:
        yield lambda: None
        return
    most = [steps for steps in steps_of.values() if steps is not None and steps > 0]
    total = sum(most) if len(most) == len(steps_of) else None

    def steps() -> int:
        return sum(map(steps_logged, steps_of))

    with progress_bar(shown=True, console=console) as bar:
        of_runs = bar.add_task("runs", total=runs, completed=finished)
        of_steps = bar.add_task("steps", total=total, completed=steps())
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(BETWEEN_LOOKS):
                bar.update(of_steps, completed=steps())

        looking = threading.Thread(target=look, daemon=True)
        looking.start()
        try:
            yield lambda: bar.advance(of_runs)
        finally:
            ended.set()
            looking.join()
            bar.update(of_steps, completed=steps())


def steps_logged(training: Path) -> int:
    """The last step in a run's cost.jsonl, 0 without one; a line that is being written does not count.

    >>> steps_logged(Path("nowhere"))
    0
    """
    path = training / COST
    lines = path.read_text(encoding="utf-8").rpartition("\n")[0].splitlines() if path.exists() else []
    return json.loads(lines[-1])["step"] if lines else 0
