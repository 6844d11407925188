"""The check "math": answers compared as mathematics, what takes sympy in processes with a time limit.

Text settles what text can: numbers in digits, words, lists and intervals of such. Everything else is asked of
`VERIFIER`, each distinct question once. Rewards, suites, votes and the viewer all come this way.
"""

import logging
from collections.abc import Sequence

from corrpo.answers.checks import Check
from corrpo.answers.comparing import same_answer
from corrpo.answers.equality import MathematicsNeededError, no_relations, same_leaf_text, same_reading
from corrpo.answers.notation import UnreadableAnswerError, is_wellformed
from corrpo.answers.numerals import read_numeral
from corrpo.answers.reading import final_answer
from corrpo.answers.structure import Reading, Words, parts_of, read_answer
from corrpo.answers.verifier import MathVerifier, Question, Reply, warn_of_failures
from corrpo.answers.words import choice_letter, chosen_letter

VERIFIER = MathVerifier()
"""Shared by everything in this process; it starts its processes when it is first asked."""

LONGEST_ANSWER = 2000
"""Characters of an answer beyond which it is taken for babble: only the same text is equal to it."""

_RIGHT, _WRONG = Reply("right", ""), Reply("wrong", "")
_UNPARSED, _UNREADABLE = Reply("unparsed", ""), Reply("unreadable", "")
_log = logging.getLogger(__name__)


def judge_as_math(responses: Sequence[str], answers: Sequence[str]) -> list[Reply]:
    r"""The verdict on each response; each distinct question is asked once.

    Unreadable where the right answer is neither words nor mathematics, unless the response says the same.

    >>> [reply.verdict for reply in judge_as_math([r"\boxed{0.5}", "<answer>1/3</answer>"], ["1/2", "1/2"])]
    ['right', 'wrong']
    """
    return _compared([(answer, final_answer(text)) for text, answer in zip(responses, answers, strict=True)])


def equal_as_math(pairs: Sequence[tuple[str, str]]) -> list[bool]:
    r"""Whether the two of each pair are one answer: `judge_as_math` finds one of them right for the other.

    Pairs of which one cannot be read, or takes longer than the limit, are equal only as text; failures go to
    the log.

    >>> equal_as_math([("1/2", "0.5"), (r"\frac12", "0.5"), ("1/2", "1/3")])
    [True, True, False]
    """
    replies = [one if one.verdict == "right" else other for one, other in _either_way(pairs)]
    warn_of_failures(_log, replies, "pairs of answers", ": they vote apart")
    return [reply.verdict == "right" for reply in replies]


def _either_way(pairs: Sequence[tuple[str, str]]) -> list[tuple[Reply, Reply]]:
    """The verdict on each pair in its order and the other way round.

    The two differ only where the given one alone may have the text of an option behind its letter.
    """
    turned = [(two, one) if choice_letter(one) or choice_letter(two) else (one, two) for one, two in pairs]
    return list(zip(_compared(pairs), _compared(turned), strict=True))


def _compared(pairs: Sequence[tuple[str, str]] | Sequence[tuple[str, str | None]]) -> list[Reply]:
    """The verdict on each pair of a right answer and the one given, None for none."""
    known = {pair: _by_text(*pair) for pair in pairs}
    asked = list(dict.fromkeys(reply for reply in known.values() if isinstance(reply, Question)))
    replies = dict(zip(asked, VERIFIER.ask(asked), strict=False))
    settled = {
        pair: replies[reply] if isinstance(reply, Question) else reply for pair, reply in known.items()
    }
    return [_UNPARSED if settled[pair].verdict == "readable" else settled[pair] for pair in pairs]


def _by_text(gold: str, given: str | None) -> Reply | Question:
    """The verdict where text shows it; what to ask where mathematics must."""
    if given is not None and same_answer(gold, given) and is_wellformed(gold):
        return _RIGHT
    wanted = _read(gold)
    if wanted is None:
        return _UNREADABLE
    found = None if given is None else _read(given)
    letter = choice_letter(gold)
    if found is None and (letter is None or given is None or chosen_letter(given) != letter):
        return _UNPARSED if _is_readable(wanted) else Question(gold)
    if letter is not None and chosen_letter(given or "") == letter:
        return _RIGHT
    try:
        same = found is not None and same_reading(wanted, found, same_leaf_text, no_relations)
    except MathematicsNeededError:
        return Question(gold, given)
    return _RIGHT if same else _WRONG


def _read(text: str) -> Reading | None:
    """The reading of an answer; None where it has none, or is longer than `LONGEST_ANSWER`."""
    if not text.strip() or len(text) > LONGEST_ANSWER:
        return None
    try:
        return read_answer(text)
    except UnreadableAnswerError:
        return None


def _is_readable(reading: Reading) -> bool:
    """Whether each part of a right answer is seen to be readable without mathematics."""
    return all(
        isinstance(part, Words) or part.base or len(part.text) == 1 or read_numeral(part.text)
        for part in parts_of(reading.node)
    )


CHECK = Check("equal as words, numbers or mathematics", judge_as_math, equal_as_math)
