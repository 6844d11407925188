"""The accuracy rewards: is the answer of a response the right one, as text or as mathematics?

Both are functions in TRL's form, for the `reward_funcs` of a trainer, and read the right answers from the
dataset column "answer". `is_correct` asks the same of one response.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

from corrpo.answers.reading import (
    Completion,
    final_answer,
    given_answers,
    plain_number,
    response_texts,
    same_answer,
    tagged_answer,
)
from corrpo.answers.verifier import MathVerifier, Question, Reply
from corrpo.errors import BadInputError, CorrpoError

Check = Literal["exact", "math"]
LogMetric = Callable[[str, float], None]

VERIFIER = MathVerifier()
"""Shared by everything in this process; it starts its processes when it is first asked."""

LONGEST_ANSWER = 2000
"""Characters between answer tags beyond which `math_answer` takes them for babble and asks nothing."""

FAILURES = {
    "accuracy/verifier_timeouts": "timeout",
    "accuracy/verifier_errors": "error",
    "accuracy/unparsed": "unparsed",
    "accuracy/unreadable_golds": "unreadable",
}
"""Metric by metric, the verdict whose share of the batch it is."""

_log = logging.getLogger(__name__)


def exact_answer(completions: Sequence[Completion], answer: Sequence[Any], **_: Any) -> list[float | None]:
    r"""1.0 for each completion whose answer is the right one as plain text, 0.0 for each other one.

    The answer is the text in the last <answer>...</answer>, or else in the last \boxed{...}; a completion
    without either scores 0.0. Two answers are the same if they are the same text up to whitespace, or the
    same decimal number: 1,000 is 1000 and 7.0 is 7, while 1/2 is not 0.5 (see `answers.same_answer`).

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
    texts = response_texts(completions)
    return [float(_is_exact(text, right)) for text, right in zip(texts, answers, strict=True)]


def math_answer(
    completions: Sequence[Completion],
    answer: Sequence[Any],
    log_metric: LogMetric | None = None,
    **_: Any,
) -> list[float | None]:
    r"""1.0 for each completion whose answer is mathematically the right one, 0.0 for each other one.

    The answer is the text in the last <answer>...</answer>; of a completion without, math-verify takes its
    \boxed{...} or LaTeX that it names as its final answer. Equality is math-verify's: 1/2, 0.5 and
    \frac{2}{4} are one answer, as are x+1 and 1+x. The right answer may be plain or LaTeX, with or without
    $ around it: a number, an expression, an interval, a set; words are not mathematics, see `exact_answer`.
    A sum that is not worked out is equal to its value: where 98+93 must become 191, use `exact_answer`.

    0.0 too for an answer that cannot be parsed, is longer than `LONGEST_ANSWER` between its tags, or takes
    longer than the limit of `VERIFIER` (5 s); None, which TRL leaves out, where the right answer itself
    cannot be parsed. Nothing of it goes unseen: the shares of `FAILURES` go to `log_metric`, time-outs and
    errors to the log as well. Works in any thread.

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
    replies = judge(response_texts(completions), answers)
    verdicts = [reply.verdict for reply in replies]
    if log_metric is not None and verdicts:
        for name, verdict in FAILURES.items():
            log_metric(name, verdicts.count(verdict) / len(verdicts))
    _warn_of_failures(replies)
    return [None if verdict == "unreadable" else float(verdict == "right") for verdict in verdicts]


def is_correct(text: str, answer: str, check: Check = "exact") -> bool:
    r"""Whether one response has the right answer, by the rule of `exact_answer` or of `math_answer`.

    Raises:
        BadInputError: an unknown check, an empty answer, or for "math" one that is not mathematics.
        CorrpoError: math-verify failed on this pair, timed out, or does not start. (In `math_answer`, which
            counts such failures, they score 0.0.)

    >>> is_correct("<answer>0.5</answer>", "1/2"), is_correct("<answer>0.5</answer>", "1/2", "math")
    (False, True)
    """
    if check not in get_args(Check):
        raise BadInputError(f"check {check!r} is unknown; expected one of {', '.join(get_args(Check))}")
    given_answers([answer], 1)
    if check == "exact":
        return _is_exact(text, answer)
    (reply,) = judge([text], [answer])
    if reply.verdict == "unreadable":
        raise BadInputError(f"answer {answer[:80]!r} is not mathematics; use the check 'exact' for words")
    if reply.verdict in ("timeout", "error"):
        raise CorrpoError(
            f"math-verify cannot compare the answer {final_answer(text)!r:.100} with {answer!r:.100}: "
            f"{reply.verdict} {reply.detail}".rstrip()
        )
    return reply.verdict == "right"


def _is_exact(text: str, answer: str) -> bool:
    given = final_answer(text)
    return given is not None and same_answer(given, answer)


def judge(texts: Sequence[str], answers: Sequence[str]) -> list[Reply]:
    """The verdict of `math_answer` on each response; each distinct question is asked once.

    Args:
        texts: responses.
        answers: the right answer of each.

    Returns:
        A `Reply` each: right, wrong, unparsed, timeout or error, and unreadable where the right answer is no
        mathematics.
    """
    known = {pair: _by_number(*pair) for pair in zip(texts, answers, strict=True)}
    golds = list(dict.fromkeys(answer for (_, answer), reply in known.items() if reply is None))
    of_gold = dict(zip(golds, VERIFIER.ask([Question(gold) for gold in golds]), strict=True))
    asked: dict[tuple[str, str], Question] = {}
    for (text, answer), reply in known.items():
        if reply is None and of_gold[answer].verdict != "readable":
            known[text, answer] = of_gold[answer]
        elif reply is None and _is_alone(text) and (final_answer(text) or "").split() == answer.split():
            known[text, answer] = Reply("right", "")
        elif reply is None and len(tagged_answer(text) or "") > LONGEST_ANSWER:
            known[text, answer] = Reply("unparsed", "")
        elif reply is None:
            asked[text, answer] = _question(text, answer)
    distinct = list(dict.fromkeys(asked.values()))
    replies = dict(zip(distinct, VERIFIER.ask(distinct), strict=True))
    return [known[pair] or replies[asked[pair]] for pair in zip(texts, answers, strict=True)]


def _question(text: str, answer: str) -> Question:
    tagged = tagged_answer(text)
    return Question(answer, text if tagged is None else tagged, tagged is not None)


def _by_number(text: str, answer: str) -> Reply | None:
    """The verdict where both answers are plain numbers and need no mathematics; otherwise None.

    Decimals that differ may still be equal up to rounding.
    """
    if not _is_alone(text):
        return None
    given, right = plain_number(final_answer(text) or ""), plain_number(answer)
    if given is None or right is None or (given != right and "." in given + right):
        return None
    return Reply("right" if given == right else "wrong", "")


def _is_alone(text: str) -> bool:
    """Whether `final_answer` is all that math-verify would look at; several \\boxed can make a set."""
    return tagged_answer(text) is not None or text.count("\\boxed") == 1


def _warn_of_failures(replies: Sequence[Reply]) -> None:
    failed = [reply for reply in replies if reply.verdict in ("timeout", "error")]
    if failed:
        _log.warning(
            "math-verify failed on %d of %d answers, the first time by %s %s",
            len(failed),
            len(replies),
            failed[0].verdict,
            failed[0].detail,
        )


# TRL shows a reward function as rewards/<__name__>/mean: either check is the accuracy of the run.
exact_answer.__name__ = "accuracy"
math_answer.__name__ = "accuracy"
