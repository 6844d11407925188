"""A model at the precision of its weights, whatever autocast is around it."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from corrpo.models.matrix_products import float32_products


@contextmanager
def own_precision(model: Any) -> Iterator[None]:
    """Without the caller's `torch.autocast`, and without the one that accelerate puts around a forward."""
    wrapped, plain = (model.__dict__.get(name) for name in ("forward", "_original_forward"))
    unwrapped = wrapped is not None and plain is not None
    device = next(model.parameters()).device.type
    known = torch.amp.is_autocast_available(device)  # not on "meta", where offloaded weights are
    products = float32_products() if device == "cpu" else nullcontext()
    try:
        if unwrapped:
            model.forward = plain
        with torch.autocast(device, enabled=False) if known else nullcontext(), products:
            yield
    finally:
        if unwrapped:
            model.forward = wrapped
