"""Suites of reasoning-gym, rg:TASK: problems of its tasks, made from a seed."""

from collections.abc import Mapping
from typing import Any

from corrpo.errors import BadInputError, did_you_mean, require_packages
from corrpo.evaluation.suites.reasoning_gym_scorers import REFUSED
from corrpo.evaluation.suites.suite import TAGGED, Problem, Suite

GYM = "rg:"
"""What the name of such a suite begins with."""
GYM_PROBLEMS = 100
"""Problems that are made unless another number is asked for."""


def make_gym_suite(name: str, size: int, seed: int) -> Suite:
    """`size` problems of a task of reasoning-gym (rg:TASK) by its defaults; item i comes from seed + i.

    Raises:
        BadInputError: no such task, one that makes no problems by its defaults, or one of `REFUSED`.
    """
    require_packages("a task of reasoning-gym", "reasoning_gym", extra="tasks")
    import reasoning_gym
    from reasoning_gym.factory import DATASETS

    task = name.removeprefix(GYM)
    if task not in DATASETS:
        hint = did_you_mean(task, DATASETS)
        raise BadInputError(f"reasoning-gym has no task {task!r} among its {len(DATASETS)}{hint}")
    if task in REFUSED:
        raise BadInputError(f"the task {task} of reasoning-gym gives no verdicts to rely on: {REFUSED[task]}")
    try:
        entries = list(reasoning_gym.create_dataset(task, size=size, seed=seed))
    except Exception as error:  # tasks raise what they like
        raise BadInputError(
            f"reasoning-gym cannot make problems of {task} by its defaults ({error!r:.200}); "
            "give another task"
        ) from error
    problems = tuple(
        Problem(str(number), entry["question"], _answer(entry), entry) for number, entry in enumerate(entries)
    )
    return Suite(name, f"reasoning-gym {task}, seed {seed}", None, problems, "reasoning-gym", TAGGED)


def _answer(entry: Mapping[str, Any]) -> str | None:
    return None if entry["answer"] is None else str(entry["answer"])
