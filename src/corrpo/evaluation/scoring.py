"""Is each generation right, what did it answer, and the accuracies that follow."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import polars as pl

from corrpo.answers.checks import find_check
from corrpo.answers.comparing import same_answer
from corrpo.answers.reading import final_answer
from corrpo.answers.verdict import judge
from corrpo.errors import CorrpoError
from corrpo.evaluation.majority import majority_at_n
from corrpo.evaluation.results import COUNTS
from corrpo.evaluation.suites.reasoning_gym_suite import gym_scorer
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
    """The text in its last answer tags or \\boxed{}; None without one."""
    correct: bool
    verdict: str
    """right or wrong; unparsed (no answer that can be read), unreadable (the right answer is no mathematics
    and the text is another), timeout or error (of the verifier, or of the scorer of a task)."""


def scores(suite: Suite, problems: Sequence[Problem], responses: Sequence[str]) -> list[Score]:
    """The score of each response to the problem beside it.

    A right answer that math-verify does not take for mathematics is compared as text; where the text differs
    the verdict is unreadable, and counted. Scorers of reasoning-gym raise on some answers that are not of the
    form they expect: the verdict is error, counted, and the first goes to the log.
    """
    answers = [final_answer(response) for response in responses]
    golds = [problem.answer or "" for problem in problems]
    if suite.check == "reasoning-gym":
        verdicts = _gym_verdicts(gym_scorer(suite), problems, answers)
    else:
        verdicts = [
            "right" if reply.verdict == "unreadable" and _same(answer, gold) else reply.verdict
            for reply, answer, gold in zip(judge(responses, golds, suite.check), answers, golds, strict=True)
        ]
    return [
        Score(answer, verdict == "right", verdict) for answer, verdict in zip(answers, verdicts, strict=True)
    ]


def _same(answer: str | None, gold: str) -> bool:
    return answer is not None and same_answer(answer, gold)


def _gym_verdicts(
    is_right: Callable[[str | None, Any], bool], problems: Sequence[Problem], answers: Sequence[str | None]
) -> list[str]:
    verdicts, failures = [], []
    for problem, answer in zip(problems, answers, strict=True):
        try:
            is_full_score = answer is not None and is_right(answer.strip(), problem.entry)
        except CorrpoError as error:
            failures.append(error)
            verdicts.append("error")
        else:
            verdicts.append("unparsed" if answer is None else "right" if is_full_score else "wrong")
    if failures:
        _log.warning(
            "the scorer failed on %d of %d answers, the first time so: %s",
            len(failures),
            len(answers),
            failures[0],
        )
    return verdicts


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
