"""What `--dry-run` of measure, track, evaluate and train prints: work, time and memory."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from corrpo.errors import visible
from corrpo.jobs.console import Console
from corrpo.models.load_options import CheckpointOptions

if TYPE_CHECKING:
    from corrpo.measurement.dry_run import DryRun
    from corrpo.models.checkpoints import Checkpoint
    from corrpo.models.probing import Cost

GIBIBYTE = 1 << 30


def announce() -> None:
    """Say what is about to take its time."""
    print("trying a few tokens on this machine: minutes, with a large model on a CPU", file=sys.stderr)


def planned_checkpoints(
    words: Sequence[str], options: CheckpointOptions
) -> tuple[list["Checkpoint"], int, list[str]]:
    """The checkpoints that words name, how many are worked on at a time, and both in lines for people.

    The cost of the first stands for that of all: those of one training are alike.
    """
    from corrpo.jobs.process_count import processes_for
    from corrpo.models.checkpoints import find_checkpoints

    checkpoints, skipped = find_checkpoints(words, start=options.start, revision=options.revision)
    count = processes_for(checkpoints, options.processes, device=options.device, dtype=options.dtype)
    lines = [f"skipped {checkpoint}" for checkpoint in skipped]
    lines.append(f"checkpoints   {len(checkpoints):,}, {count} at a time; measured here: {checkpoints[0]}")
    return checkpoints, count, lines


def print_dry_run(plan: "DryRun", lines: Sequence[str] = (), models: int = 1, processes: int = 1) -> None:
    """Print `lines`, and what measuring `models` models like that of `plan` takes, `processes` at a time."""
    lines = [
        *lines,
        f"samples       {plan.samples:,}, of which the model answers {plan.generated:,}",
        f"tokens        at most {plan.response_tokens:,} in responses; {plan.measured_tokens:,} are measured",
    ]
    costs = {"generation": plan.generation, "measurement": plan.measurement}
    print_costs(lines, costs, plan.weight_bytes, plan.free_bytes, models, processes)


def print_costs(
    lines: Sequence[str],
    costs: dict[str, "Cost"],
    weight_bytes: int,
    free_bytes: int,
    models: int = 1,
    processes: int = 1,
    remedy: str = "lower --batch-size or --max-new-tokens, or take fewer processes",
) -> None:
    """Print lines, then time and peak memory of `models` models, `processes` at a time.

    Costs, bytes of weights and free bytes (with one model loaded) are those of one model; its kinds of work
    follow one another. `remedy` is against too little memory.
    """
    rounds = -(-models // processes)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    for line in lines:
        console.print(visible(line))
    for name, cost in costs.items():
        if cost.seconds:
            console.print(f"{name:<13} about {duration(rounds * cost.seconds)}")
    total = rounds * sum(cost.seconds for cost in costs.values())
    work = processes * max(cost.peak_bytes for cost in costs.values())
    weights, there_is = processes * weight_bytes, free_bytes + weight_bytes
    console.print(f"in all        about {duration(total)} on this machine, from a few tokens measured here")
    shares = f"weights {size_in_words(weights)}, work {size_in_words(work)}"
    console.print(f"peak memory   about {size_in_words(weights + work)}: {shares}")
    console.print(f"free memory   {size_in_words(there_is)}")
    if weights + work > there_is:
        console.print(f"That is too little: {remedy}.")
    console.print("Nothing was written. Responses that end early take less; times are good to a factor of 2.")


def size_in_words(size: float) -> str:
    """A number of bytes for people.

    >>> size_in_words(3 << 29), size_in_words(5 << 20)
    ('1.5 GiB', '5 MiB')
    """
    return f"{size / GIBIBYTE:.1f} GiB" if size >= GIBIBYTE else f"{size / (1 << 20):.0f} MiB"


def duration(seconds: float) -> str:
    """Two figures or so, in the unit that a person would say.

    >>> duration(0.4), duration(75), duration(5400), duration(260_000)
    ('1 s', '75 s', '90 min', '72 h')
    """
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size or (unit == "h" and seconds > 120 * 60):
            return f"{seconds / size:,.0f} {unit}"
    return f"{max(1, round(seconds))} s"
