"""Is each generation right, what did it answer, and the accuracies that follow."""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

from corrpo.answers.checks import find_check
from corrpo.answers.reading import begun_response, final_answer
from corrpo.answers.verdict import judge
from corrpo.evaluation.majority import majority_at_n
from corrpo.evaluation.results import COUNTS
from corrpo.evaluation.suites.reasoning_gym_suite import GYM
from corrpo.evaluation.suites.reasoning_gym_verifier import judge_gym
from corrpo.evaluation.suites.suite import Problem, Suite
from corrpo.statistics.accuracy_estimate import Estimate, estimate_average, estimate_mean, estimate_pass_at_k

VERDICT_COUNTS = {
    "unparsed": "unparsed",
    "unreadable": "unreadable",
    "timeout": "verifier_timeouts",
    "error": "verifier_errors",
}
"""Verdicts that are no judgement, and the count that each goes into."""

_log = logging.getLogger(__name__)


class Score(NamedTuple):
    """What became of one generation."""

    answer: str | None
    """The text in its last answer tags or \\boxed{}, or named in a sentence; None without one."""
    correct: bool
    verdict: str
    """right or wrong; unparsed (no answer that can be read), unreadable (the right answer cannot be read
    and the text is another), timeout or error (of the verifier, or of the scorer of a task)."""


def scores(suite: Suite, problems: Sequence[Problem], responses: Sequence[str]) -> list[Score]:
    """The score of each response to the problem beside it, read behind what its chat has the assistant say.

    Where the right answer cannot be read, and the text is another, the verdict is unreadable, and counted.
    Scorers of reasoning-gym raise on some answers that are not of the form they expect: the verdict is error,
    counted, and the first goes to the log.
    """
    responses = [
        begun_response(asked.problem) + text for asked, text in zip(problems, responses, strict=True)
    ]
    answers = [final_answer(response) for response in responses]
    golds = [problem.answer or "" for problem in problems]
    if suite.check == "reasoning-gym":
        verdicts = _gym_verdicts(suite, problems, answers)
    else:
        verdicts = [reply.verdict for reply in judge(responses, golds, suite.check)]
    return [
        Score(answer, verdict == "right", verdict) for answer, verdict in zip(answers, verdicts, strict=True)
    ]


def _gym_verdicts(suite: Suite, problems: Sequence[Problem], answers: Sequence[str | None]) -> list[str]:
    replies = judge_gym(suite.name.removeprefix(GYM), answers, [problem.entry for problem in problems])
    failures = [reply.detail for reply in replies if reply.verdict == "error"]
    if failures:
        _log.warning(
            "the scorer failed on %d of %d answers, the first time so: %s",
            len(failures),
            len(answers),
            failures[0],
        )
    return [reply.verdict for reply in replies]


def estimates(
    suite: Suite, generations: pl.DataFrame, ks: Sequence[int], confidence: float
) -> dict[str, Estimate]:
    """pass@k for each k, average@n and majority@n for n above 1, of columns problem, answer and correct.

    The suite decides which answers are one in the vote: equal to math-verify, or the same text or number.
    """
    groups = generations.group_by("problem", maintain_order=True).agg("answer", "correct")
    correct = groups["correct"].to_list()
    values = {f"pass@{k}": estimate_pass_at_k(correct, k, confidence=confidence) for k in ks}
    n = min(map(len, correct))
    if n > 1:
        check = find_check("exact" if suite.check == "reasoning-gym" else suite.check)
        votes = [
            majority_at_n(answers, right, check.equal)
            for answers, right in zip(groups["answer"].to_list(), correct, strict=True)
        ]
        values[f"average@{n}"] = estimate_average(correct, confidence=confidence)
        values[f"majority@{n}"] = estimate_mean(votes, generations.height, confidence=confidence)
    return values


def counts(generations: pl.DataFrame) -> dict[str, Any]:
    """See `Evaluation.counts`."""
    verdicts = generations["verdict"].to_list()
    totals = dict.fromkeys(COUNTS, 0) | {
        "generations": generations.height,
        "correct": int(generations["correct"].sum()),
        "unfinished": int((~generations["finished"]).sum()),
    }
    for verdict, name in VERDICT_COUNTS.items():
        totals[name] = verdicts.count(verdict)
    return totals | {"mean_tokens": float(generations["n_tokens"].to_numpy().mean())}
