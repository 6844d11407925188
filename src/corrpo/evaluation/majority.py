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

from collections.abc import Callable, Sequence

from corrpo.errors import BadInputError

Equal = Callable[[Sequence[tuple[str, str]]], list[bool]]
"""Whether each of some pairs of answers are one answer."""


def majority_at_n(answers: Sequence[str | None], right: Sequence[bool], equal: Equal) -> float:
    """What a vote of the answers to one problem gets right; see the module.

    Args:
        answers: of each generation; None where there is none.
        right: whether each was judged right.
        equal: the `equal` of a check in `answers.checks`; asked once for each distinct answer, together with
            the first of every class so far.

    Returns:
        A number in [0, 1]; between the two only for a tie.

    Raises:
        BadInputError: another number of verdicts than of answers.

    >>> from corrpo.answers.checks.exact import equal_as_text
    >>> majority_at_n(["7", "7.0", "8", None], [True, True, False, False], equal_as_text)
    1.0
    >>> majority_at_n(["7", "8"], [True, False], equal_as_text)
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
            alike = equal([(first, answer) for first in firsts])
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
