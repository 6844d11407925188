"""number_sequence: the rule of a sequence is guessed, tried on its terms, and given up or used."""

from collections.abc import Sequence
from itertools import pairwise

from reasoning_traces.pen import Pen, shown, whole
from reasoning_traces.task import Entry, TraceTask, Worked

_ASKED = ("Which number comes next: {}, ?", "Go on with the sequence {}.", "{}, ? What is the next number?")
_NO_STEP = ("so the steps differ. ", "not the same step. ", "so no fixed number is added. ")


def work(entry: Entry, pen: Pen) -> Worked | None:
    """Sequences in which a term is the one before times a factor plus a constant; others are left out."""
    *given, answer = entry["metadata"]["sequence"]
    rule = _linear(entry["metadata"]["sequence"])
    if rule is None:
        return None
    factor, constant = rule
    first, second, third = given[:3]
    steps = [pen.opening(), pen.pick(("Look at the steps: ", "Is a fixed number added? ", "Differences: "))]
    steps += [pen.step(second, "-", first), pen.step(third, "-", second), pen.pick(_NO_STEP)]
    if constant and first and second % first == 0 and pen.rng.random() < 0.5:
        steps += [_given_up(given, pen)]
    ratio = f"{third - second} / {shown(second - first)}"
    steps.append(f"{pen.pick(('The steps grow by a factor: ', 'Step over step: '))}{ratio} = {factor}. ")
    steps.append(pen.pick(("So multiply by it, and add what is left. ", "Multiply, then see what is left. ")))
    steps.append(pen.step(factor, "*", first) + pen.step(second, "-", factor * first))
    tries = [(second, ("Does it go on? ", "Try it: "))] if pen.rng.random() < 0.5 else []
    for term, words in (*tries, (given[-1], ("The last: ", "So next: "))):
        steps.append(pen.pick(words) + pen.step(factor, "*", term))
        steps.append(pen.step(factor * term, "+", constant) if constant else "")
    listed = ", ".join(map(str, given))
    assert whole(f"{factor} * {shown(given[-1])} + {shown(constant)}") == answer
    return Worked(pen.pick(_ASKED).format(listed), str(answer), "".join(steps).strip(), listed)


def _given_up(given: Sequence[int], pen: Pen) -> str:
    """A first guess, that each term is a multiple of the one before, which the third term refutes."""
    times = given[1] // given[0]
    guess = pen.pick((f"Perhaps each is {times} times the last? ", f"Maybe times {times}? "))
    tried = pen.step(times, "*", given[1])
    return f"{guess}{tried}{pen.pick(('But there is', 'No, it is'))} {given[2]}. "


def _linear(sequence: Sequence[int]) -> tuple[int, int] | None:
    """Factor and constant of a sequence that has them and is no arithmetic progression."""
    first, second, third = sequence[:3]
    if second == first or (third - second) % (second - first):
        return None
    factor = (third - second) // (second - first)
    constant = second - factor * first
    follows = all(later == factor * term + constant for term, later in pairwise(sequence))
    return (factor, constant) if follows and factor not in (-1, 0, 1) else None


TASK = TraceTask(
    "number_sequence",
    {
        "brief": {"min_terms": 4, "max_terms": 5, "max_complexity": 2},
        "short": {"min_terms": 4, "max_terms": 5, "max_complexity": 2},
        "long": {"min_terms": 5, "max_terms": 6, "max_complexity": 3},
    },
    work,
)
