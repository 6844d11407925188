"""What became of one item of work: that it is finished, or the reason why it failed."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from corrpo.errors import CorrpoError, first_line
from corrpo.models.memory import ran_out_of_memory

Item = TypeVar("Item")


@dataclass
class Outcome(Generic[Item]):
    """An item of work that is finished, or why it is not; it pickles if the item does."""

    item: Item
    reason: str | None = None
    """Why it failed; None if it is finished."""


@contextmanager
def outcome_of(item: Item, *, out_of_memory: str) -> Iterator[Outcome[Item]]:
    """An error within becomes the outcome's reason, so that one bad item does not end the others.

    `out_of_memory` is what to do where memory runs out.

    >>> with outcome_of("a run", out_of_memory="take fewer") as outcome:
    ...     raise CorrpoError("no such file")
    >>> outcome.reason
    'no such file'
    """
    outcome = Outcome(item)
    try:
        yield outcome
    except Exception as error:
        if ran_out_of_memory(error):
            outcome.reason = f"{first_line(error)}; {out_of_memory}"
        else:
            outcome.reason = str(error) if isinstance(error, CorrpoError) else fault_in_words(error)


def fault_in_words(error: Exception) -> str:
    """An error that nobody foresaw, with its kind and the place that it was raised at."""
    *_, last = traceback.extract_tb(error.__traceback__) or [None]
    place = "" if last is None else f" ({Path(last.filename).name}, line {last.lineno})"
    return f"{type(error).__name__}: {first_line(error)}{place}"
