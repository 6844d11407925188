"""The task reward "math": is the answer the right one in words or as mathematics?"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from corrpo.answers.reading import Completion, given_answers, response_texts
from corrpo.answers.verdict import judge
from corrpo.answers.verifier import warn_of_failures
from corrpo.rewards.task_rewards import TaskReward

LogMetric = Callable[[str, float], None]

FAILURES = {
    "accuracy/verifier_timeouts": "timeout",
    "accuracy/verifier_errors": "error",
    "accuracy/unparsed": "unparsed",
    "accuracy/unreadable_golds": "unreadable",
}
"""Metric by metric, the verdict whose share of the batch it is."""

_log = logging.getLogger(__name__)


def math_answer(
    completions: Sequence[Completion],
    answer: Sequence[Any],
    log_metric: LogMetric | None = None,
    **_: Any,
) -> list[float | None]:
    r"""1.0 for each completion whose answer is mathematically the right one, 0.0 for each other one.

    The answer is the text in the last <answer>...</answer>, or else in the last \boxed{...}, or else what a
    sentence names as the answer; it is read in the same way wherever it stands. 1/2, 0.5 and \frac{2}{4} are
    one answer, as are x+1 and 1+x. The right answer may be plain or LaTeX, with or without $ around it: a
    number, an expression, an interval, a set, or words. A sum that is not worked out is equal to its value:
    where 98+93 must become 191, use `exact_answer`.

    0.0 too for an answer that cannot be read, is longer than `LONGEST_ANSWER` of `answers.checks.math`, or
    takes longer than the limit of its `VERIFIER` (5 s); None, which TRL leaves out, where the right answer
    itself cannot be read. Nothing of it goes unseen: the shares of `FAILURES` go to
    `log_metric`, time-outs and errors to the log as well. Works in any thread.

    Args:
        completions: strings, or lists of chat messages, of which the assistant's last one counts.
        answer: the right answer of each as text, the dataset column of that name.
        log_metric: takes a name and a value; TRL gives it.

    Raises:
        BadInputError: an answer that is missing, or a completion of another form; the message names
            the row.
        CorrpoError: math-verify is not installed or does not start.

    >>> math_answer([r"\boxed{\frac{2}{4}}", "<answer>1/3</answer>"], answer=["1/2", "1/2"])
    [1.0, 0.0]
    """
    answers = given_answers(answer, len(completions))
    replies = judge(response_texts(completions), answers, "math")
    verdicts = [reply.verdict for reply in replies]
    if log_metric is not None and verdicts:
        for name, verdict in FAILURES.items():
            log_metric(name, verdicts.count(verdict) / len(verdicts))
    warn_of_failures(_log, replies, "answers")
    return [None if verdict == "unreadable" else float(verdict == "right") for verdict in verdicts]


# TRL shows a reward function as rewards/<__name__>/mean: either check is the accuracy of the run.
math_answer.__name__ = "accuracy"
TASK_REWARD = TaskReward("the answer is the right one in words or as mathematics", math_answer, True)
