"""leg_counting: the legs of several animals, kind by kind, and then their sum."""

from reasoning_gym.arithmetic.leg_counting import ANIMALS

from reasoning_traces.pen import Pen, whole
from reasoning_traces.task import Entry, TraceTask, Worked

_ASKED = (
    "How many legs do {} have in all?",
    "Count the legs of {}.",
    "There are {}. How many legs are there in total?",
)
_LEGS = ("A {} has {} legs: ", "Each {} has {} legs, so ", "{} legs: {} of them on each, ")


def work(entry: Entry, pen: Pen) -> Worked:
    """Legs of each kind, then the running total."""
    animals: dict[str, int] = entry["metadata"]["animals"]
    steps, counts = [pen.opening()], []
    for animal, count in animals.items():
        legs = ANIMALS[animal]
        steps.append(pen.pick(_LEGS).format(animal, legs) + pen.step(count, "*", legs))
        counts.append(count * legs)
    steps.append(pen.pick(("Now the total. ", "Add them up. ", "Together: ")))
    total = counts[0]
    for count in counts[1:]:
        steps.append(pen.step(total, "+", count))
        total = whole(f"{total} + {count}")
    listed = ", ".join(f"{count} {animal}{'s' if count > 1 else ''}" for animal, count in animals.items())
    question = pen.pick(_ASKED).format(listed)
    return Worked(question, entry["answer"], "".join(steps).strip(), " ".join(sorted(listed.split(", "))))


TASK = TraceTask(
    "leg_counting",
    {
        "brief": {"min_animals": 2, "max_animals": 2, "min_instances": 1, "max_instances": 4},
        "short": {"min_animals": 3, "max_animals": 4, "min_instances": 2, "max_instances": 15},
        "long": {"min_animals": 6, "max_animals": 10, "min_instances": 2, "max_instances": 40},
    },
    work,
)
