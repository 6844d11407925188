"""majority@n: what a vote of n generations gets right, where equal answers in other forms are one answer.

Rules (ours):

- A generation without an answer, or with an empty one, does not vote; where nobody votes, the value is 0.
- Answers that are one vote together. Each new answer is compared with the first of every class there is, as a
  relation that is not transitive (decimals that are equal up to rounding) gives no classes otherwise.
- Where several answers have the most votes, the value is the share of these that are right: what a fair draw
  among them would give.
- An answer is right if more than half of the generations that gave it were judged right: a verdict that
  differs from those on equal answers is outvoted.
"""

import logging
from collections.abc import Callable, Sequence

from corrpo.answers.accuracy import LONGEST_ANSWER, VERIFIER
from corrpo.answers.reading import plain_number, same_answer
from corrpo.answers.verifier import Question
from corrpo.errors import BadInputError

_log = logging.getLogger(__name__)

Same = Callable[[Sequence[tuple[str, str]]], list[bool]]
"""Whether each of some pairs of answers are one answer."""


def exact_same(pairs: Sequence[tuple[str, str]]) -> list[bool]:
    """Whether the two of each pair are the same text up to whitespace, or the same decimal number.

    >>> exact_same([("7.0", "7"), ("1/2", "0.5")])
    [True, False]
    """
    return [same_answer(*pair) for pair in pairs]


def math_same(pairs: Sequence[tuple[str, str]]) -> list[bool]:
    r"""Whether the two of each pair are equal to math-verify, in either order.

    Pairs of which one is no mathematics, is longer than `LONGEST_ANSWER`, or takes math-verify longer than
    its limit are the same only as text; failures of math-verify go to the log.

    Raises:
        CorrpoError: math-verify is not installed or does not start.

    >>> math_same([("1/2", "0.5"), (r"\frac12", "0.5"), ("1/2", "1/3")])
    [True, True, False]
    """
    known = {pair: same_answer(*pair) for pair in pairs}
    asked = [pair for pair, same in known.items() if not same and _may_be_same(*pair)]
    for gold, given in ((0, 1), (1, 0)):
        questions = [Question(pair[gold], pair[given]) for pair in asked]
        replies = dict(zip(asked, VERIFIER.ask(questions), strict=True))
        known |= {pair: reply.verdict == "right" for pair, reply in replies.items()}
        failed = [reply for reply in replies.values() if reply.verdict in ("timeout", "error")]
        if failed:
            _log.warning(
                "math-verify failed on %d of %d pairs of answers, the first time by %s %s: they vote apart",
                len(failed),
                len(replies),
                *failed[0],
            )
        asked = [pair for pair, reply in replies.items() if reply.verdict in ("wrong", "error")]
    return [known[pair] for pair in pairs]


def _may_be_same(one: str, other: str) -> bool:
    """False where text alone shows that the two, which differ as text, are not one answer."""
    if max(len(one), len(other)) > LONGEST_ANSWER:
        return False
    numbers = [plain_number(text) for text in (one, other)]
    return not all(number is not None and "." not in number for number in numbers)


def majority_at_n(answers: Sequence[str | None], right: Sequence[bool], same: Same) -> float:
    """What a vote of the answers to one problem gets right; see the module.

    Args:
        answers: of each generation; None where there is none.
        right: whether each was judged right.
        same: see `Same`; asked once for each distinct answer, together with the first of every class so far.

    Returns:
        A number in [0, 1]; between the two only for a tie.

    Raises:
        BadInputError: another number of verdicts than of answers.

    >>> majority_at_n(["7", "7.0", "8", None], [True, True, False, False], exact_same)
    1.0
    >>> majority_at_n(["7", "8"], [True, False], exact_same)
    0.5
    """
    if len(answers) != len(right):
        raise BadInputError(f"{len(right)} verdicts for {len(answers)} answers; expected one for each")
    votes = [(a, verdict) for a, verdict in zip(answers, right, strict=True) if a is not None and a.strip()]
    firsts: list[str] = []
    place: dict[str, int] = {}
    classes: list[list[bool]] = []
    for answer, verdict in votes:
        if answer not in place:
            alike = same([(first, answer) for first in firsts])
            place[answer] = alike.index(True) if True in alike else len(firsts)
        if place[answer] == len(firsts):
            firsts.append(answer)
            classes.append([])
        classes[place[answer]].append(verdict)
    if not classes:
        return 0.0
    most = max(map(len, classes))
    leading = [verdicts for verdicts in classes if len(verdicts) == most]
    return sum(2 * sum(verdicts) > most for verdicts in leading) / len(leading)
