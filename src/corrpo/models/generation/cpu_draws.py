"""Tokens drawn on a CPU by one uniform number a row, in the place of one for each token there is.

torch.multinomial makes an exponential number for every entry of the vocabulary, which on a CPU takes half as
long as the head itself where there are 262,144. Here the token is where a uniform number falls among the
cumulated probabilities, of blocks first: the same distribution from other random numbers.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.overrides import TorchFunctionMode

BLOCK = 512
"""Entries of the vocabulary that are summed first."""


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
    lacking = -probabilities.shape[-1] % BLOCK
    padded = pad(probabilities, (0, lacking)) if lacking else probabilities  # pad copies them all
    blocks = padded.unflatten(-1, (-1, BLOCK))
    bounds = blocks.sum(-1).cumsum(-1, dtype=torch.float64)
    total = bounds[:, -1:]
    if not (total.isfinite() & (total > 0)).all():
        return torch.multinomial(probabilities, num_samples=1)
    at = torch.rand_like(total) * total
    block = torch.searchsorted(bounds, at, right=True)
    before = pad(bounds, (1, 0)).gather(-1, block)
    within = blocks[torch.arange(len(blocks)), block[:, 0]].cumsum(-1, dtype=torch.float64)
    last = within[:, -1:].nextafter(torch.zeros(()))  # sums of a block differ in their last bit
    return block * BLOCK + torch.searchsorted(within, torch.minimum(at - before, last), right=True)
