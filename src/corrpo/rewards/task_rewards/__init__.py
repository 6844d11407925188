"""The task rewards, by the names that recipes use: functions in TRL's form, for `reward_funcs`.

`TASK_REWARDS` is the table: the name of a reward, and the module that defines its record.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

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
        after_template: for a reward that depends on how the chat template ends a prompt: the function, made
            from the policy's tokenizer and the template's further arguments.
    """

    meaning: str
    function: RewardFunction
    needs_answer: bool
    after_template: Callable[[Any, Mapping[str, Any] | None], RewardFunction] | None = None

    def function_for(self, tokenizer: Any, chat_template_kwargs: Mapping[str, Any] | None) -> RewardFunction:
        """The function for a policy whose prompts this tokenizer renders."""
        if self.after_template is None:
            return self.function
        return self.after_template(tokenizer, chat_template_kwargs)


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
