"""A warning where no rollout of the first steps gets the task reward: nothing is learned from it then."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from transformers import TrainerCallback

from corrpo.answers.reading import Completion, final_answer, response_texts
from corrpo.rewards.task_rewards import RewardFunction, TaskReward

FIRST_STEPS = 10
"""Steps without a reward after which the warning comes, at the next log; or at the end of a shorter run."""
_SHOWN = 60
"""Characters of an answer or of the end of a response that are shown."""


class UnrewardedWarning(TrainerCallback):
    """Warns once if a task reward that compares answers is 0 in every log of the first steps.

    Args:
        reward: the task reward that is watched.
        say: prints a line.
    """

    def __init__(self, reward: TaskReward, say: Callable[[str], None]):
        self.reward = reward
        self.say = say
        self.is_watching = True
        self._compared = ""
        self._logs: dict[str, float] = {}
        self._begun = 0

    def watched(self, function: RewardFunction) -> RewardFunction:
        """The reward's `function`; what it compared last is remembered."""

        @wraps(function)
        def scored(
            completions: Sequence[Completion], answer: Sequence[Any], **rest: Any
        ) -> list[float | None]:
            rewards = function(completions=completions, answer=answer, **rest)
            if self.is_watching:
                self._compared = _comparison(response_texts(completions)[-1], str(answer[-1]))
            return rewards

        return scored

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count from here; a run that goes on counts from where it was stopped."""
        self._begun = state.global_step

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Look at the mean reward of all processes since the last log."""
        mean = (logs or {}).get(f"rewards/{self.reward.function.__name__}/mean")
        if mean is None or not self.is_watching:
            return
        self.is_watching, self._logs = mean == 0, logs
        if mean == 0 and state.global_step - self._begun >= FIRST_STEPS:
            self._warn(state)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Warn of a run that was shorter."""
        if self.is_watching and self._logs:
            self._warn(state)

    def _warn(self, state: Any) -> None:
        self.is_watching = False
        if not state.is_world_process_zero:
            return
        cut = self._logs.get("completions/clipped_ratio")
        length = "" if not cut else f" {100 * cut:.0f} % of the rollouts were cut at max_completion_length."
        self.say(
            f"warning: the task reward {self.reward.function.__name__!r} was 0 for every rollout of the "
            f"first {state.global_step - self._begun} steps, so that nothing is learned from it "
            f"({self.reward.meaning}). Of the last rollout it compared {self._compared}.{length} See that "
            "the prompts ask for that form, that the answers of the dataset have it, and that the model "
            "solves some of these problems at all"
        )


def _comparison(response: str, gold: str) -> str:
    r"""What stands against what.

    >>> _comparison("<answer>7</answer>", "8")
    "the answer '7' with '8'"
    >>> _comparison("It is 8.", "8")
    "nothing (no <answer>...</answer> or \\boxed{...} in the response that ends in 'It is 8.') with '8'"
    """
    answer = final_answer(response)
    if answer is not None:
        return f"the answer {answer.strip()[:_SHOWN]!r} with {gold[:_SHOWN]!r}"
    return (
        r"nothing (no <answer>...</answer> or \boxed{...} in the response that ends in "
        f"{response[-_SHOWN:]!r}) with {gold[:_SHOWN]!r}"
    )
