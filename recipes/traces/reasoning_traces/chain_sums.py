"""chain_sum: sums of several numbers, one term after the other, each in parts."""

import re

from reasoning_traces.pen import Pen, whole
from reasoning_traces.task import Entry, TraceTask, Worked

_ASKED = ("What is {}?", "Work out {}.", "Calculate {}.", "Find the value of {}.")


def work(entry: Entry, pen: Pen) -> Worked:
    """Term by term; a term of several digits is added in two parts, or at once."""
    expression = entry["metadata"]["expression"]
    total, *rest = (int(term) for term in re.findall(r"-?\d+", expression.replace(" ", "")))
    steps = [pen.opening()]
    for term in rest:
        operator, size = "+-"[term < 0], abs(term)
        parts = [part for part in (size - size % 100, size % 100) if part]
        if len(parts) == 2 and pen.rng.random() < 0.5:
            steps.append(f"{pen.joint()}{pen.pick(('take', 'split'))} {size} as {parts[0]} and {parts[1]}: ")
        else:
            steps.append(pen.joint())
            parts = [size]
        for part in parts:
            steps.append(pen.step(total, operator, part))
            total = whole(f"{total} {operator} {part}")
    question = pen.pick(_ASKED).format(expression)
    return Worked(question, entry["answer"], "".join(steps).strip(), " ".join(sorted(expression.split(" "))))


TASK = TraceTask(
    "chain_sum",
    {
        "brief": {"min_terms": 2, "max_terms": 4, "min_digits": 1, "max_digits": 1},
        "short": {"min_terms": 3, "max_terms": 4, "min_digits": 2, "max_digits": 3},
        "long": {"min_terms": 6, "max_terms": 8, "min_digits": 3, "max_digits": 4},
    },
    work,
)
