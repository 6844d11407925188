"""Peak memory of a call on the CPU."""

from collections.abc import Callable

import torch

from corrpo.models.probing import peak_bytes_of


def peak_bytes(call: Callable[[], object]) -> int:
    """The most memory that tensors made within `call` take at one time (weights not counted)."""
    return peak_bytes_of(call, torch.device("cpu"))
