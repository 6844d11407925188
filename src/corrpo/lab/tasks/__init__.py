"""The tasks of the lab, each from a task of reasoning-gym; one file for each kind of problem."""

from __future__ import annotations

from corrpo.errors import BadInputError, did_you_mean
from corrpo.lab import LAB
from corrpo.lab.tasks.sorting import SORTING
from corrpo.lab.tasks.sums import LONG_SUMS, REWORDED_SUMS, SUMS
from corrpo.lab.tasks.task import LabProblem, LabTask

__all__ = ["LAB_TASKS", "LAB_TASK_NAMES", "LabProblem", "LabTask", "find_lab_task"]

LAB_TASKS: dict[str, LabTask] = {task.name: task for task in (SUMS, REWORDED_SUMS, LONG_SUMS, SORTING)}
LAB_TASK_NAMES = ", ".join(f"{LAB}{name}" for name in LAB_TASKS)
"""The names by which they are data sets and suites, for people to read."""


def find_lab_task(name: str) -> LabTask:
    """The task of a name, with or without `lab:` before it.

    >>> find_lab_task("lab:sums").gym_task, find_lab_task("sorting").gym_task
    ('chain_sum', 'number_sorting')

    Raises BadInputError on a task that there is not.
    """
    known = name.removeprefix(LAB)
    if known not in LAB_TASKS:
        raise BadInputError(
            f"unknown lab task {name!r}: expected {LAB_TASK_NAMES}{did_you_mean(known, LAB_TASKS)}"
        )
    return LAB_TASKS[known]
