"""The task reward "exact": is the answer the right one as text or as a decimal number?"""

from collections.abc import Sequence
from typing import Any

from corrpo.answers.reading import Completion, given_answers, response_texts
from corrpo.answers.verdict import judge
from corrpo.rewards.task_rewards import TaskReward


def exact_answer(completions: Sequence[Completion], answer: Sequence[Any], **_: Any) -> list[float | None]:
    r"""1.0 for each completion whose answer is the right one as plain text, 0.0 for each other one.

    The answer is the text in the last <answer>...</answer>, or else in the last \boxed{...}, or else what a
    sentence names as the answer; a completion without scores 0.0. Two answers are the same if they are the
    same text up to whitespace, or the same decimal number: 1,000 is 1000 and 7.0 is 7, while 1/2 is not 0.5
    (see `comparing.same_answer`).

    Args:
        completions: strings, or lists of chat messages, of which the assistant's last one counts.
        answer: the right answer of each as text, the dataset column of that name.

    Raises:
        BadInputError: an answer that is missing, or a completion of another form; the message names
            the row.

    >>> exact_answer(["<answer>1,000</answer>", r"\boxed{999}", "1000"], answer=["1000"] * 3)
    [1.0, 0.0, 0.0]
    """
    answers = given_answers(answer, len(completions))
    replies = judge(response_texts(completions), answers, "exact")
    return [float(reply.verdict == "right") for reply in replies]


# TRL shows a reward function as rewards/<__name__>/mean: either check is the accuracy of the run.
exact_answer.__name__ = "accuracy"
TASK_REWARD = TaskReward("the answer is the right one as text or decimal number", exact_answer, True)
