"""The check "math": answers compared as mathematics by math-verify, in processes with a time limit.

Text settles what text can: plain numbers that are equal or cannot be, and answers that are the same text.
Everything else is asked of `VERIFIER`, each distinct question once. Rewards, suites, votes and the viewer all
come this way.
"""

import logging
from collections.abc import Sequence

from corrpo.answers.checks import Check
from corrpo.answers.comparing import plain_number, same_answer
from corrpo.answers.reading import final_answer, tagged_answer
from corrpo.answers.verifier import MathVerifier, Question, Reply

VERIFIER = MathVerifier()
"""Shared by everything in this process; it starts its processes when it is first asked."""

LONGEST_ANSWER = 2000
"""Characters between answer tags beyond which an answer is taken for babble and nothing is asked."""

_log = logging.getLogger(__name__)


def judge_as_math(responses: Sequence[str], answers: Sequence[str]) -> list[Reply]:
    r"""The verdict of math-verify on each response; each distinct question is asked once.

    Unreadable where the right answer is no mathematics.

    >>> [reply.verdict for reply in judge_as_math([r"\boxed{0.5}", "<answer>1/3</answer>"], ["1/2", "1/2"])]
    ['right', 'wrong']
    """
    known = {pair: _by_number(*pair) for pair in zip(responses, answers, strict=True)}
    golds = list(dict.fromkeys(answer for (_, answer), reply in known.items() if reply is None))
    of_gold = dict(zip(golds, VERIFIER.ask([Question(gold) for gold in golds]), strict=True))
    asked: dict[tuple[str, str], Question] = {}
    for (text, answer), reply in known.items():
        if reply is None and of_gold[answer].verdict != "readable":
            known[text, answer] = of_gold[answer]
        elif reply is None and _has_one_answer(text) and (final_answer(text) or "").split() == answer.split():
            known[text, answer] = Reply("right", "")
        elif reply is None and len(tagged_answer(text) or "") > LONGEST_ANSWER:
            known[text, answer] = Reply("unparsed", "")
        elif reply is None:
            asked[text, answer] = _question(text, answer)
    distinct = list(dict.fromkeys(asked.values()))
    replies = dict(zip(distinct, VERIFIER.ask(distinct), strict=True))
    return [known[pair] or replies[asked[pair]] for pair in zip(responses, answers, strict=True)]


def _question(text: str, answer: str) -> Question:
    tagged = tagged_answer(text)
    return Question(answer, text if tagged is None else tagged, tagged is not None)


def _by_number(text: str, answer: str) -> Reply | None:
    """The verdict where both answers are plain numbers and need no mathematics; otherwise None.

    Decimals that differ may still be equal up to rounding.
    """
    if not _has_one_answer(text):
        return None
    given, right = plain_number(final_answer(text) or ""), plain_number(answer)
    if given is None or right is None or (given != right and "." in given + right):
        return None
    return Reply("right" if given == right else "wrong", "")


def _has_one_answer(text: str) -> bool:
    """Whether `final_answer` is all that math-verify would look at; several \\boxed can make a set."""
    return tagged_answer(text) is not None or text.count("\\boxed") == 1


def equal_as_math(pairs: Sequence[tuple[str, str]]) -> list[bool]:
    r"""Whether the two of each pair are equal to math-verify, in either order.

    Pairs of which one is no mathematics, is longer than `LONGEST_ANSWER`, or takes math-verify longer than
    its limit are equal only as text; failures of math-verify go to the log.

    >>> equal_as_math([("1/2", "0.5"), (r"\frac12", "0.5"), ("1/2", "1/3")])
    [True, True, False]
    """
    known = {pair: same_answer(*pair) for pair in pairs}
    asked = [pair for pair, equal in known.items() if not equal and _may_be_equal(*pair)]
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


def _may_be_equal(one: str, other: str) -> bool:
    """False where text alone shows that the two, which differ as text, are not one answer."""
    if max(len(one), len(other)) > LONGEST_ANSWER:
        return False
    numbers = [plain_number(text) for text in (one, other)]
    return not all(number is not None and "." not in number for number in numbers)


CHECK = Check("equal as mathematics, by math-verify", judge_as_math, equal_as_math)
