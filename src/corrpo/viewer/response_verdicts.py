"""Whether the responses of a fingerprint are right, as the page shows it."""

from dataclasses import dataclass
from typing import Any, Literal

from corrpo.answers.reading import begun_response
from corrpo.answers.verdict import judge

Check = Literal["exact", "math", "none"]
CHUNK = 32
"""Answers that math-verify is asked about at a time."""
MATH = {"right": True, "wrong": False, "unparsed": False}
REASONS = {
    "unreadable": "the right answer cannot be read",
    "timeout": "math-verify ran out of time",
    "error": "math-verify failed",
}


@dataclass(frozen=True)
class Verdict:
    """Whether a response is right; None with the reason where that is not known."""

    correct: bool | None
    reason: str | None = None


def response_verdicts(rows: list[dict[str, Any] | None], check: Check) -> list[Verdict]:
    """The verdict on each response, given as rows of responses.jsonl, read behind what its chat has begun.

    >>> row = {"response": "<answer>7.0</answer>", "answer": "7"}
    >>> rows = [row, row | {"answer": "8"}, row | {"answer": None}]
    >>> [verdict.correct for verdict in response_verdicts(rows, "exact")]
    [True, False, None]
    """
    if check == "none":
        return [Verdict(None, "answers are not checked")] * len(rows)
    verdicts = [Verdict(None, "no right answer to compare with")] * len(rows)
    pairs = {
        place: (begun_response(row.get("prompt")) + str(row["response"]), str(row["answer"]))
        for place, row in enumerate(rows)
        if row and row.get("response") is not None and str(row.get("answer") or "").strip()
    }
    replies = judge([text for text, _ in pairs.values()], [answer for _, answer in pairs.values()], check)
    for place, reply in zip(pairs, replies, strict=True):
        verdicts[place] = Verdict(MATH.get(reply.verdict), REASONS.get(reply.verdict))
    return verdicts
