"""The check "exact": answers compared as plain text and as decimal numbers, without mathematics."""

from collections.abc import Sequence

from corrpo.answers.checks import Check
from corrpo.answers.comparing import same_answer
from corrpo.answers.reading import final_answer
from corrpo.answers.verifier import Reply


def judge_as_text(responses: Sequence[str], answers: Sequence[str]) -> list[Reply]:
    """Right if the final answer of a response is the right answer by `comparing.same_answer`.

    A response without a final answer is "unparsed".

    >>> [reply.verdict for reply in judge_as_text(["<answer>7.0</answer>", "so 7"], ["7", "7"])]
    ['right', 'unparsed']
    """
    return [_judged(final_answer(text), right) for text, right in zip(responses, answers, strict=True)]


def _judged(given: str | None, right: str) -> Reply:
    if given is None:
        return Reply("unparsed", "")
    return Reply("right" if same_answer(given, right) else "wrong", "")


def equal_as_text(pairs: Sequence[tuple[str, str]]) -> list[bool]:
    """Whether the two of each pair are the same text up to whitespace, or the same decimal number.

    >>> equal_as_text([("7.0", "7"), ("1/2", "0.5")])
    [True, False]
    """
    return [same_answer(*pair) for pair in pairs]


CHECK = Check("the same text up to whitespace, or the same decimal number", judge_as_text, equal_as_text)
