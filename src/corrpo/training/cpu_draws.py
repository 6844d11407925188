"""Tokens of rollouts drawn on a CPU by one uniform number a row, in the place of one for each token there is.

torch.multinomial makes an exponential number for every entry of the vocabulary, which on a CPU takes half as
long as the head itself where there are 262,144. Here the token is where a uniform number falls among the
cumulated probabilities, in float64: the same distribution from other random numbers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from corrpo.models.few_rows import few_rows_on_cpu
from corrpo.models.threads import TINY


@contextmanager
def draws_on_cpu(model: Any) -> Iterator[None]:
    """Let the model's `generate` draw so within the block, but for tiny models and on other devices."""
    if model.device.type != "cpu" or model.num_parameters() < TINY:
        yield
        return
    generate = model.generate

    def drawing(*given: Any, **named: Any) -> Any:
        with few_rows_on_cpu(model), _DrawsByInverse():
            return generate(*given, **named)

    model.generate = drawing
    try:
        yield
    finally:
        del model.generate


class _DrawsByInverse(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        is_draw = func is torch.multinomial and kwargs == {"num_samples": 1}
        return drawn(*args) if is_draw else func(*args, **(kwargs or {}))


def drawn(probabilities: Tensor) -> Tensor:
    """A column for each row with the probability in it, int64 [rows, 1].

    Raises:
        RuntimeError: NaN or infinite probabilities, as torch.multinomial does.

    >>> drawn(torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])).tolist()
    [[1], [2]]
    """
    bounds = probabilities.cumsum(-1, dtype=torch.float64)
    total = bounds[:, -1:]
    if not total.isfinite().all():
        return torch.multinomial(probabilities, num_samples=1)
    return torch.searchsorted(bounds, torch.rand_like(total) * total, right=True)
