"""Tokens drawn on a CPU by one uniform number a row, in the place of one for each token there is.

torch.multinomial makes an exponential number for every entry of the vocabulary, which on a CPU takes half as
long as the head itself where there are 262,144. Here the token is where a uniform number falls among the
cumulated probabilities, in float64: the same distribution from other random numbers.
"""

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class DrawsByInverse(TorchFunctionMode):
    """Within it, torch.multinomial of one number a row draws so."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """See torch."""
        is_draw = func is torch.multinomial and kwargs == {"num_samples": 1}
        return drawn(*args) if is_draw else func(*args, **(kwargs or {}))


def drawn(probabilities: Tensor) -> Tensor:
    """A column for each row with the probability in it, int64 [rows, 1].

    Raises:
        RuntimeError: NaN or infinite probabilities, or a row of zeros, as torch.multinomial does.

    >>> drawn(torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])).tolist()
    [[1], [2]]
    """
    bounds = probabilities.cumsum(-1, dtype=torch.float64)
    total = bounds[:, -1:]
    if not (total.isfinite() & (total > 0)).all():
        return torch.multinomial(probabilities, num_samples=1)
    return torch.searchsorted(bounds, torch.rand_like(total) * total, right=True)
