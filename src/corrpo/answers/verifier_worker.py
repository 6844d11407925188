"""What the parser of math-verify and sympy are asked, in a process of `verifier_process`.

No signal can break into one long operation on big integers: here nothing is timed, and whoever started the
process kills it. Nothing but the parser, sympy and the reading of answers is imported, so that a process is
up in half a second.
"""

from corrpo.answers.equality import MathematicsNeededError, same_reading
from corrpo.answers.expressions import parse_part, same_leaf, same_relation
from corrpo.answers.notation import UnreadableAnswerError
from corrpo.answers.structure import parts_of, read_answer


def respond(gold: str, prediction: str | None) -> tuple[str, str]:
    """The verdict on one request, and what went wrong for "error".

    "unreadable" for a gold that is not mathematics and "unparsed" for such a prediction, right or wrong
    otherwise. A prediction of None asks whether the gold can be read: "readable" or "unreadable".
    """
    verdict = "unreadable"
    try:
        wanted = read_answer(gold)
        for part in parts_of(wanted.node):
            parse_part(part)
        if prediction is None:
            return "readable", ""
        verdict = "unparsed"
        equal = same_reading(wanted, read_answer(prediction), same_leaf, same_relation)
        return ("right" if equal else "wrong"), ""
    except (UnreadableAnswerError, MathematicsNeededError):
        return verdict, ""
    except MemoryError:
        raise
    except Exception as error:  # sympy may raise anything; the verdict tells it
        return "error", f"{type(error).__name__}: {str(error)[:200]}"
