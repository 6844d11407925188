"""Is each generation right, what did it answer, and the accuracies that follow."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import polars as pl

from corrpo.answers.accuracy import judge
from corrpo.answers.reading import final_answer, same_answer
from corrpo.errors import CorrpoError
from corrpo.evaluation.majority import exact_same, majority_at_n, math_same
from corrpo.evaluation.results import COUNTS
from corrpo.evaluation.suites import Problem, Suite, gym_scorer
from corrpo.statistics.estimates import Estimate, estimate_average, estimate_mean, estimate_pass_at_k

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

    Raises:
        CorrpoError: math-verify does not start.
    """
    answers = [final_answer(response) for response in responses]
    golds = [problem.answer or "" for problem in problems]
    if suite.check == "math":
        verdicts = [
            "right" if reply.verdict == "unreadable" and _same(answer, gold) else reply.verdict
            for reply, answer, gold in zip(judge(responses, golds), answers, golds, strict=True)
        ]
    elif suite.check == "exact":
        verdicts = [
            _told(answer, right=_same(answer, gold)) for answer, gold in zip(answers, golds, strict=True)
        ]
    else:
        verdicts = _gym_verdicts(gym_scorer(suite), problems, answers)
    return [
        Score(answer, verdict == "right", verdict) for answer, verdict in zip(answers, verdicts, strict=True)
    ]


def _same(answer: str | None, gold: str) -> bool:
    return answer is not None and same_answer(answer, gold)


def _told(answer: str | None, *, right: bool) -> str:
    if answer is None:
        return "unparsed"
    return "right" if right else "wrong"


def _gym_verdicts(
    is_right: Callable[[str | None, Any], bool], problems: Sequence[Problem], answers: Sequence[str | None]
) -> list[str]:
    verdicts, failures = [], []
    for problem, answer in zip(problems, answers, strict=True):
        try:
            right = answer is not None and is_right(answer.strip(), problem.entry)
        except CorrpoError as error:
            failures.append(error)
            verdicts.append("error")
        else:
            verdicts.append(_told(answer, right=right))
    if failures:
        told = len(failures), len(answers), failures[0]
        _log.warning("the scorer failed on %d of %d answers, the first time so: %s", *told)
    return verdicts


def estimates(
    suite: Suite, generations: pl.DataFrame, ks: Sequence[int], confidence: float
) -> dict[str, Estimate]:
    """pass@k for each k, average@n and majority@n for n above 1.

    Args:
        suite: decides which answers are one in the vote: equal to math-verify, or the same text or number.
        generations: with columns problem, answer and correct.
        ks: of pass@k.
        confidence: of the intervals.
    """
    groups = generations.group_by("problem", maintain_order=True).agg("answer", "correct")
    correct = groups["correct"].to_list()
    found = {f"pass@{k}": estimate_pass_at_k(correct, k, confidence=confidence) for k in ks}
    n = min(map(len, correct))
    if n > 1:
        same = math_same if suite.check == "math" else exact_same
        votes = [
            majority_at_n(answers, right, same)
            for answers, right in zip(groups["answer"].to_list(), correct, strict=True)
        ]
        found[f"average@{n}"] = estimate_average(correct, confidence=confidence)
        found[f"majority@{n}"] = estimate_mean(votes, generations.height, confidence=confidence)
    return found


def counts(generations: pl.DataFrame) -> dict[str, Any]:
    """See `Evaluation.counts`."""
    verdicts = generations["verdict"].to_list()
    found = dict.fromkeys(COUNTS, 0) | {
        "generations": generations.height,
        "correct": int(generations["correct"].sum()),
        "unfinished": int((~generations["finished"]).sum()),
    }
    for verdict, name in VERDICT_COUNTS.items():
        found[name] = verdicts.count(verdict)
    return found | {"mean_tokens": float(generations["n_tokens"].to_numpy().mean())}
