"""The tasks of the lab, each from a task of reasoning-gym; one file for each kind of problem."""

from __future__ import annotations

from corrpo.errors import BadInputError, did_you_mean
from corrpo.lab import LAB
from corrpo.lab.tasks.sorting import SORTING
from corrpo.lab.tasks.sums import LONG_SUMS, REWORDED_SUMS, SUMS
from corrpo.lab.tasks.task import Problem, Task

__all__ = ["LAB_TASKS", "TASKS", "Problem", "Task", "find_task"]

TASKS: dict[str, Task] = {task.name: task for task in (SUMS, REWORDED_SUMS, LONG_SUMS, SORTING)}
LAB_TASKS = ", ".join(f"{LAB}{name}" for name in TASKS)
"""The names by which they are data sets and suites, for people to read."""


def find_task(name: str) -> Task:
    """The task of a name, with or without `lab:` before it.

    >>> find_task("lab:sums").gym, find_task("sorting").gym
    ('chain_sum', 'number_sorting')

    Raises BadInputError on a task that there is not.
    """
    known = name.removeprefix(LAB)
    if known not in TASKS:
        raise BadInputError(f"unknown lab task {name!r}: expected {LAB_TASKS}{did_you_mean(known, TASKS)}")
    return TASKS[known]
