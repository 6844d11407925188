"""The task rewards by the names that configurations use."""

from collections.abc import Callable

from corrpo.answers.accuracy import exact_answer, math_answer
from corrpo.errors import BadInputError
from corrpo.rewards.format import think_answer_format

TaskReward = Callable[..., list[float | None]]

REWARDS: dict[str, TaskReward] = {
    "exact": exact_answer,
    "math": math_answer,
    "format": think_answer_format,
}


def task_reward(name: str) -> TaskReward:
    """The reward function that a configuration calls `name`: "exact", "math" or "format".

    Raises:
        BadInputError: an unknown name.

    >>> task_reward("format")(["<think>1+1</think><answer>2</answer>"])
    [1.0]
    """
    if name not in REWARDS:
        raise BadInputError(f"task reward {name!r} is unknown; expected one of {', '.join(REWARDS)}")
    return REWARDS[name]
