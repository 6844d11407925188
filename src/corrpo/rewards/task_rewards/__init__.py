"""The task rewards, by the names that recipes use: functions in TRL's form, for `reward_funcs`.

`TASK_REWARDS` is the table: the name of a reward, and the module that defines its record.
"""

from collections.abc import Callable
from dataclasses import dataclass

from corrpo.errors import RecordTable

RewardFunction = Callable[..., list[float | None]]

_MODULES = {"exact": "exact_answer", "math": "math_answer", "format": "think_answer_format"}
TASK_REWARDS = RecordTable(
    "task reward", "TASK_REWARD", {name: f"{__name__}.{module}" for name, module in _MODULES.items()}
)


@dataclass(frozen=True)
class TaskReward:
    """One task reward.

    Attributes:
        meaning: one line on what gets a 1.
        function: takes `completions` and the dataset's columns, all by name, and returns a number each, None
            for a completion that cannot be scored. TRL logs it as rewards/<its __name__>/mean.
        needs_answer: whether it compares with the right answer, the dataset's column "answer".
    """

    meaning: str
    function: RewardFunction
    needs_answer: bool


def rewards_of_answers() -> tuple[str, ...]:
    """The names of the rewards that compare with the right answer, which their datasets must have.

    >>> rewards_of_answers()
    ('exact', 'math')
    """
    return tuple(name for name in TASK_REWARDS if find_task_reward(name).needs_answer)


def find_task_reward(name: str) -> TaskReward:
    """The task reward that a recipe calls `name`: "exact", "math" or "format".

    Raises:
        BadInputError: an unknown name.

    >>> find_task_reward("format").function(["<think>1+1</think><answer>2</answer>"])
    [1.0]
    """
    return TASK_REWARDS.find(name)
