"""gsm_symbolic: word problems, by the lines of reasoning-gym's own solutions."""

import re
from fractions import Fraction

from reasoning_traces.claims import Claim, claims_of
from reasoning_traces.pen import Pen
from reasoning_traces.task import Entry, TraceTask, Worked

_WHOLE = re.compile(r"(\d)\.0\b")
_NAMES = re.compile(r"\b[A-Z]\w*")
_REQUEST = " Give the result as your final answer. Do not include units."


def work(entry: Entry, pen: Pen) -> Worked | None:
    """Line by line, the last value perhaps with a slip or a check; left out if a line cannot be followed."""
    *lines, _ = _WHOLE.sub(r"\1", entry["metadata"]["answer_cot"]).splitlines()
    answer = _WHOLE.sub(r"\1", entry["answer"])
    steps, results = [pen.opening()], []
    for line in filter(None, map(_spaced, lines)):
        try:
            claims = list(claims_of(line))
        except ValueError:
            return None
        if not all(claim.is_true for claim in claims):
            return None
        results += [claim.right for claim in claims]
        steps.append(_with_checks(line, claims[-1], pen) if claims else f"{line} ")
    if not results or Fraction(results[-1]) != Fraction(answer) or len(results) < 2:
        return None
    question = entry["question"].removesuffix(_REQUEST)
    key = _NAMES.sub("", question)  # of other people it is the same problem
    return Worked(question, answer, "".join(steps).strip(), key)


def _spaced(line: str) -> str:
    """A line with one space around each operator, and a full stop."""
    line = re.sub(r"(?<=[\d\w)]) ?[x×] ?(?=[$€£]?\d)", " * ", line.strip())
    line = re.sub(r"(?<=\d) ?÷ ?(?=[$€£]?\d)", " / ", line)
    line = re.sub(r"(?<=[\d\w)]) ?([*=]) ?(?=[$€£]?\d)", r" \1 ", line)
    line = re.sub(r"(?<=\d) ?([-+/]) ?(?=[$€£]?\d)", r" \1 ", line)
    return line and line.rstrip(".") + "."


def _with_checks(line: str, claim: Claim, pen: Pen) -> str:
    """A line whose last claim is of two whole numbers, perhaps wrong at first, perhaps checked."""
    left, *operation = claim.left.split(" ")
    plain = len(operation) == 2 and all(word.isdigit() for word in (left, operation[1], claim.right))
    head, _, tail = line.rpartition(claim.right)
    if not plain or "=" in tail or not head.rstrip("$€£").endswith("= "):
        return f"{line} "
    value, rest = (
        pen.step(int(left), operation[0], int(operation[1])).removeprefix(f"{claim.left} = ").split(". ", 1)
    )
    return f"{head}{value}{tail} {rest}"


TASK = TraceTask("gsm_symbolic", {"brief": {}, "short": {}, "long": {}}, work)
