"""countdown: operations between numbers that stay in their order, found by trying."""

from collections.abc import Iterator, Sequence
from itertools import product

from reasoning_traces.pen import Pen, shown, whole
from reasoning_traces.task import Entry, TraceTask, Worked

WORDS = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}
_ASKED = (
    "Between the numbers {} put plus, minus, times or divided by, so that working from left to right gives "
    "{}. Name the {} operations in their order, with commas.",
    "Which {2} operations (plus, minus, times, divided by), put between {0} and worked from left to right, "
    "give {1}? Name them in their order, with commas.",
)
_MOST_TRIES = {3: 3, 4: 2, 5: 8}
"""Wrong tries at most, by how many numbers there are."""


def work(entry: Entry, pen: Pen) -> Worked | None:
    """Tries that miss, and the one that does it; problems with several solutions are left out."""
    numbers, target = entry["metadata"]["numbers"], entry["metadata"]["target"]
    reached = {operators: values for operators, values in _all_tries(numbers)}
    solutions = [operators for operators, values in reached.items() if values[-1] == target]
    if len(solutions) != 1:
        return None
    solution = solutions[0]
    missed = [operators for operators in reached if operators != solution]
    missed.sort(key=lambda operators: abs(reached[operators][-1] - target) + pen.rng.randrange(target))
    tries = missed[: pen.rng.randint(1, _MOST_TRIES[len(numbers)])]
    steps = [pen.opening()]
    for operators in (*tries, solution):
        steps.append(pen.pick(("Try ", "What about ", "Perhaps ", "Next ")) + _named(operators) + ": ")
        steps += _worked(numbers, reached[operators], operators, pen)
        value = reached[operators][-1]
        if operators != solution:
            miss = ("Too much", "That is more") if value > target else ("Too little", "That is less")
            steps.append(f"{pen.pick((*miss, f'Not {target}'))}. ")
    steps.append(pen.pick((f"That is {target}. ", "There it is. ", "Found. ")))
    listed = ", ".join(map(str, numbers))
    question = pen.pick(_ASKED).format(listed, target, len(solution))
    return Worked(question, _named(solution), "".join(steps).strip(), f"{listed} to {target}")


def _named(operators: Sequence[str]) -> str:
    return ", ".join(WORDS[operator] for operator in operators)


def _all_tries(numbers: Sequence[int]) -> Iterator[tuple[tuple[str, ...], list[int]]]:
    """Every choice of operations that stays in whole numbers, with the value after each."""
    for operators in product(WORDS, repeat=len(numbers) - 1):
        values = [numbers[0]]
        for operator, number in zip(operators, numbers[1:], strict=True):
            if operator == "/" and values[-1] % number:
                break
            values.append(whole(f"{values[-1]} {operator} {number}"))
        else:
            yield operators, values


def _worked(
    numbers: Sequence[int], values: Sequence[int], operators: Sequence[str], pen: Pen
) -> Iterator[str]:
    for operator, before, number in zip(operators, values, numbers[1:], strict=False):
        yield pen.step(before, operator, int(shown(number)))


TASK = TraceTask(
    "countdown",
    {
        "brief": {
            "min_numbers": 3,
            "max_numbers": 3,
            "max_value": 10,
            "min_target": 5,
            "max_target": 50,
            "shuffle": False,
        },
        "short": {
            "min_numbers": 3,
            "max_numbers": 4,
            "max_value": 20,
            "min_target": 10,
            "max_target": 200,
            "shuffle": False,
        },
        "long": {
            "min_numbers": 4,
            "max_numbers": 5,
            "max_value": 50,
            "min_target": 10,
            "max_target": 500,
            "shuffle": False,
        },
    },
    work,
)
