"""What became of one item of work: that it is finished, or the reason why it failed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from corrpo.errors import CorrpoError
from corrpo.jobs.process_team import Team

Item = TypeVar("Item")


@dataclass
class Outcome(Generic[Item]):
    """An item of work that is finished, or why it is not; it pickles if the item does."""

    item: Item
    reason: str | None = None
    """Why it failed; None if it is finished."""


@contextmanager
def outcome_of(item: Item, *, out_of_memory: str, team: Team | None = None) -> Iterator[Outcome[Item]]:
    """Errors of corrpo and lack of memory within become the outcome's reason; other errors are raised.

    So is an error that ends all processes of a team. `out_of_memory` is what to do where memory runs out.

    >>> with outcome_of("a run", out_of_memory="take fewer") as outcome:
    ...     raise CorrpoError("no such file")
    >>> outcome.reason
    'no such file'
    """
    outcome = Outcome(item)
    try:
        yield outcome
    except CorrpoError as error:
        if team is not None:
            team.check()  # what has ended the job is no failure of this item
        outcome.reason = str(error)
    except (MemoryError, torch.OutOfMemoryError) as error:
        first_line = str(error).splitlines()[0] if str(error) else "no memory left"
        outcome.reason = f"{first_line}: {out_of_memory}"
