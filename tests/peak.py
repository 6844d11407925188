"""Peak memory of a call."""

from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile


def peak_bytes(call: Callable[[], object]) -> int:
    """The most memory that tensors made within `call` take at one time (weights not counted)."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as run:
        call()
    live = peak = 0
    for event in run.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak
