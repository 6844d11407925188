"""Verdicts on responses: `is_correct` on one, `judge` on many, by the check that is named.

The task rewards, the suites of `corrpo evaluate`, the votes among generations and the viewer ask here or of
the same `checks`.
"""

from collections.abc import Sequence

from corrpo.answers.checks import CheckName, find_check
from corrpo.answers.reading import final_answer, given_answers
from corrpo.answers.verifier import Reply
from corrpo.errors import BadInputError, CorrpoError


def judge(responses: Sequence[str], answers: Sequence[str], check: CheckName = "math") -> list[Reply]:
    """The verdict on each response.

    Args:
        responses: complete responses.
        answers: the right answer of each.
        check: "exact", "math" or "trl"; see `is_correct`.

    Returns:
        A `Reply` each: right, wrong, or no judgement: unparsed (the response has no answer that can be read),
        unreadable (the right answer cannot be read), timeout or error (of math-verify).

    Raises:
        BadInputError: an unknown check.
        CorrpoError: what the check needs is not installed or does not start.

    >>> [reply.verdict for reply in judge(["<answer>7.0</answer>", "so 7"], ["7", "7"], "exact")]
    ['right', 'unparsed']
    """
    return find_check(check).judge(responses, answers)


def is_correct(response: str, answer: str, check: CheckName = "math") -> bool:
    r"""Whether a response has the right answer.

    Args:
        response: all of the response. Its answer is the text in the last <answer>...</answer>, or else in the
            last \boxed{...}, or else what a sentence names as the answer.
        answer: the right answer as text, numbers too: "17".
        check: "math", equal as mathematics, 1/2 is 0.5, or the same words; "exact", the same text up to
            whitespace or the same decimal number: 1/2 is not 0.5; "trl", the verdict of TRL's
            accuracy_reward, which reads \boxed{...} and LaTeX alone.

    Raises:
        BadInputError: an unknown check, a response that is no text, an empty answer, or, but for "exact", one
            that cannot be read.
        CorrpoError: math-verify failed on this pair, timed out, or does not start; what the check needs is
            not installed. (In `math_answer`, which counts failures and time-outs, they score 0.0.)

    >>> is_correct("<answer>0.5</answer>", "1/2"), is_correct("<answer>0.5</answer>", "1/2", "exact")
    (True, False)
    """
    rule = find_check(check)
    given_answers([answer], 1)
    if not isinstance(response, str):
        raise BadInputError(f"response={response!r:.80}: expected text, not {type(response).__name__}")
    (reply,) = rule.judge([response], [answer])
    if reply.verdict == "unreadable":
        raise BadInputError(
            f"answer {answer[:80]!r} is neither words nor mathematics that the check {check!r} can "
            "read; the check 'exact' compares any text"
        )
    if reply.verdict in ("timeout", "error"):
        raise CorrpoError(
            f"math-verify cannot compare the answer {final_answer(response)!r:.100} with {answer!r:.100}: "
            f"{reply.verdict} {reply.detail}".rstrip()
        )
    return reply.verdict == "right"
