"""How many threads a model runs on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

TINY = 5_000_000
"""Parameters below which one thread is quickest."""


def is_tiny(model: Any) -> bool:
    """Whether a model has fewer than `TINY` parameters."""
    return sum(parameter.numel() for parameter in model.parameters()) < TINY


@contextmanager
def threads_for(model: Any) -> Iterator[None]:
    """One thread for a tiny model on a CPU, where handing out work costs ten times the work itself."""
    before = torch.get_num_threads()
    if is_tiny(model) and next(model.parameters()).device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
