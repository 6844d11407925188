"""majority@n: what a vote of n generations gets right, where equal answers in other forms are one answer.

Rules (ours): a generation without an answer does not vote; where several answers have the most votes, the
value is the share of these that are right, as a fair draw among them would give; an answer is right if most
of the generations that gave it were judged right; nobody voting is 0.
"""

from collections.abc import Callable, Sequence

from corrpo.rewards.accuracy import VERIFIER
from corrpo.rewards.answers import plain_number, same_answer
from corrpo.rewards.verifier import Question

Same = Callable[[Sequence[tuple[str, str]]], list[bool]]
"""Whether each of some pairs of answers are one answer."""


def exact_same(pairs: Sequence[tuple[str, str]]) -> list[bool]:
    """Whether the two of each pair are the same text up to whitespace, or the same decimal number.

    >>> exact_same([("7.0", "7"), ("1/2", "0.5")])
    [True, False]
    """
    return [same_answer(*pair) for pair in pairs]


def math_same(pairs: Sequence[tuple[str, str]]) -> list[bool]:
    r"""Whether the two of each pair are equal to math-verify, either way round.

    A pair that math-verify cannot compare in its time limit, or not at all, is not the same.

    >>> math_same([("1/2", "0.5"), (r"\\frac12", "0.5"), ("1/2", "1/3")])
    [True, True, False]
    """
    known = {pair: True for pair in pairs if same_answer(*pair)}
    known |= {pair: False for pair in pairs if pair not in known and _both_whole(*pair)}
    asked = [pair for pair in dict.fromkeys(pairs) if pair not in known]
    for order in (1, -1):
        open_ = [pair for pair in asked if not known.get(pair)]
        replies = VERIFIER.ask([Question(pair[::order][0], pair[::order][1]) for pair in open_])
        known |= {pair: reply.verdict == "right" for pair, reply in zip(open_, replies, strict=True)}
    return [known[pair] for pair in pairs]


def _both_whole(one: str, other: str) -> bool:
    numbers = [plain_number(text) for text in (one, other)]
    return all(number is not None and "." not in number for number in numbers)


def majority_at_n(answers: Sequence[str | None], right: Sequence[bool], same: Same) -> float:
    """What a vote of the answers to one problem gets right; see the module.

    Args:
        answers: of each generation; None where there is none.
        right: whether each was judged right.
        same: see `Same`; asked with one answer of each class that there is so far.

    Returns:
        A number in [0, 1]; between the two only for a tie.

    >>> majority_at_n(["7", "7.0", "8", None], [True, True, False, False], exact_same)
    1.0
    >>> majority_at_n(["7", "8"], [True, False], exact_same)
    0.5
    """
    classes: list[list[int]] = []
    place: dict[str, int] = {}
    for index, answer in enumerate(answers):
        if answer is None:
            continue
        if answer not in place:
            members = [answers[each[0]] or "" for each in classes]
            alike = same([(member, answer) for member in members])
            place[answer] = next((i for i, equal in enumerate(alike) if equal), len(classes))
            if place[answer] == len(classes):
                classes.append([])
        classes[place[answer]].append(index)
    if not classes:
        return 0.0
    most = max(map(len, classes))
    leading = [each for each in classes if len(each) == most]
    return sum(2 * sum(right[i] for i in each) > len(each) for each in leading) / len(leading)
