"""The check "trl": the verdict of TRL's own `accuracy_reward`, for comparison with runs that train on it.

It reads the last \\boxed{} of a response, or LaTeX that the response names as its answer; answer tags mean
nothing to it. Its math-verify runs in this process: with TRL's time limits on the main thread, with none in
another one.
"""

from collections.abc import Sequence

from corrpo.answers.checks import Check
from corrpo.answers.checks.math import equal_as_math
from corrpo.answers.verifier import Reply
from corrpo.errors import require_packages

_VERDICTS = {1.0: "right", 0.0: "wrong", None: "unreadable"}


def judge_by_trl(responses: Sequence[str], answers: Sequence[str]) -> list[Reply]:
    r"""Right, wrong, or unreadable where TRL cannot parse the right answer.

    >>> judge_by_trl([r"so \boxed{0.5}", "<answer>0.5</answer>"], [r"$\frac{1}{2}$"] * 2)
    [Reply(verdict='right', detail=''), Reply(verdict='wrong', detail='')]
    """
    require_packages("the check 'trl'", "trl", "math_verify", extra="train")
    from trl.rewards.accuracy_rewards import accuracy_reward

    chats = [[{"role": "assistant", "content": response}] for response in responses]
    rewards = accuracy_reward(chats, solution=list(answers))
    return [Reply(_VERDICTS[reward], "") for reward in rewards]


CHECK = Check("the verdict of TRL's accuracy_reward", judge_by_trl, equal_as_math)
