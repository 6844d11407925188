"""simple_equations: a linear equation, solved in two steps and tried out in the equation."""

import re

from reasoning_traces.pen import Pen, whole
from reasoning_traces.task import Entry, TraceTask, Worked

_LINEAR = re.compile(r"(-?\d+)\*([a-z]) ([-+]) (\d+) = (-?\d+)")
_ASKED = ("Solve {1} for {0}.", "Find {0} in the equation {1}.", "What is {0}, if {1}?")


def work(entry: Entry, pen: Pen) -> Worked | None:
    """Take the constant over, divide, put the value in; where a try fails, once more."""
    read = _LINEAR.fullmatch(entry["metadata"]["equation"])
    if read is None:
        return None
    factor, name, sign, constant, right = read.groups()
    multiple = int(right) - int(f"{sign}{constant}")
    over = "+-"[sign == "+"]
    value, factor = int(entry["answer"]), int(factor)
    steps = [pen.opening(), pen.pick((f"Take {constant} to the other side: ", "The constant goes over: "))]
    steps.append(pen.step(int(right), over, int(constant)))
    steps.append(pen.pick((f"That is {factor} times {name}. ", f"So {factor} times {name} is {multiple}. ")))
    divided = f"{multiple} / {factor}" if factor > 0 else f"{multiple} / ({factor})"
    if pen.slipped():
        wrong = pen.slip(value)
        steps.append(f"{divided} = {wrong}. ")
        tried = f"{factor} * {wrong} = {factor * wrong}"
        steps.append(pen.refuted(tried, multiple, f"{divided} = {value}. "))
    else:
        steps.append(f"{divided} = {value}. ")
    steps.append(pen.pick(("Put it in: ", "Try it: ", "Check: ")))
    steps.append(pen.step(factor, "*", value) + pen.step(factor * value, sign, int(constant)))
    steps.append(pen.pick(("It fits. ", "That is the right side. ", "Good. ")))
    equation = entry["metadata"]["equation"].replace("*", " * ")
    key = f"{factor} {sign} {constant} = {right}"  # with another letter it is the same problem
    assert whole(f"{factor * value} {sign} {constant}") == int(right)
    return Worked(pen.pick(_ASKED).format(name, equation), entry["answer"], "".join(steps).strip(), key)


TASK = TraceTask(
    "simple_equations",
    {
        "brief": {"min_terms": 2, "max_terms": 2, "min_value": 2, "max_value": 12},
        "short": {"min_terms": 2, "max_terms": 3, "min_value": 2, "max_value": 40},
        "long": {"min_terms": 3, "max_terms": 5, "min_value": 11, "max_value": 300},
    },
    work,
)
