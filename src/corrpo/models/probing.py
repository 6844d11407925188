"""What a call costs on this machine, measured; and what generating responses would, from a few tokens."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from corrpo.models.generation.backend import Engine

LONG_SECONDS = 1.0
"""A call that takes longer is not repeated to time it: its noise is small beside it."""
PROBED_TOKENS = (2, 10)
"""New tokens of the two short generations that tell the cost of a step."""


@dataclass(frozen=True)
class Cost:
    """What work takes.

    Attributes:
        seconds: on this machine.
        peak_bytes: the most memory at one time, beside the weights.
    """

    seconds: float
    peak_bytes: float

    def __add__(self, after: "Cost") -> "Cost":
        """The cost of one piece of work after another.

        >>> Cost(1.0, 500) + Cost(2.0, 300)
        Cost(seconds=3.0, peak_bytes=500)
        """
        return Cost(self.seconds + after.seconds, max(self.peak_bytes, after.peak_bytes))


def seconds_of(call: Callable[[], object], repeats: int = 2) -> float:
    """The least time of some calls, each with all that a GPU was asked to do; of a long one, its time."""
    times: list[float] = []
    while len(times) < repeats and max(times, default=0.0) < LONG_SECONDS:
        began = time.perf_counter()
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times)


def peak_bytes_of(call: Callable[[], object], device: torch.device) -> int:
    """The most memory that tensors made within a call take at one time; weights do not count.

    On a GPU by the allocator's own record, elsewhere by the profiler's.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    activities = [torch.profiler.ProfilerActivity.CPU]
    with _without_remarks(), torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        call()
    live = peak = 0
    for event in profile.profiler.kineto_results.events():  # pyright: ignore[reportOptionalMemberAccess]
        if event.name() == "[memory]":
            live += event.nbytes()  # pyright: ignore[reportAttributeAccessIssue]
            peak = max(peak, live)
    return peak


@contextmanager
def _without_remarks() -> Iterator[None]:
    """The profiler's library writes when it starts and stops, past Python, to standard error: not shown."""
    standard_error = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)


def weight_bytes(model: nn.Module) -> int:
    """Bytes of all parameters and buffers."""
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def generation_cost(
    engine: Engine, device: torch.device, batches: Sequence[tuple[Sequence[Sequence[int]], int]]
) -> Cost:
    """What it would take to answer batches of prompts, if every response were as long as it may be.

    The largest batch is answered with a few tokens, twice: the difference is the cost of a step, in seconds
    and in bytes, which is taken to be the same for all steps; the rest is that of reading the prompts. A
    batch is token ids of prompts, and the most new tokens of a response.
    """
    if not batches:
        return Cost(0.0, 0.0)
    prompts, _ = max(batches, key=lambda batch: len(batch[0]) * max(map(len, batch[0])))
    written, seconds, peaks = [], [], []
    for new_tokens in PROBED_TOKENS:
        lengths: list[int] = []

        def answer(new_tokens: int = new_tokens, lengths: list[int] = lengths) -> None:
            responses = engine.respond(prompts, max_new_tokens=new_tokens, temperature=1.0, top_p=1.0, seed=0)
            lengths.append(max(len(response.ids) for response in responses))

        peaks.append(peak_bytes_of(answer, device))
        seconds.append(seconds_of(answer))
        written.append(lengths[-1])
    steps = max(1, written[1] - written[0])
    step_seconds = max(0.0, seconds[1] - seconds[0]) / steps
    step_bytes = max(0.0, peaks[1] - peaks[0]) / steps
    prompt_seconds = max(0.0, seconds[0] - written[0] * step_seconds)
    longest = max(most for _, most in batches)
    return Cost(
        seconds=sum(prompt_seconds + most * step_seconds for _, most in batches),
        peak_bytes=peaks[0] + max(0, longest - written[0]) * step_bytes,
    )
