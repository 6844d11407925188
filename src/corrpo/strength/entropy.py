"""Token entropy and the other quantities that one row of logits gives.

Entropy is H_t = -sum_v p_t(v) log2 p_t(v) in bits, with p_t the softmax at temperature 1 over the full
vocabulary (METHOD 1). A 150k vocabulary times 4k tokens is 2.4 GB in float32: rows are taken a few at a
time, so that the working memory stays near `CHUNK_ELEMENTS` numbers whatever the input, in a CPU's caches.
"""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from corrpo.errors import BadInputError

CHUNK_ELEMENTS = 1 << 22
CPU_CHUNK_ELEMENTS = 1 << 18
"""1 MiB in float32. Sixteen rows of 262,144 at a time took 4 times as long as one."""


def _row_chunks(rows: Tensor) -> Iterator[slice]:
    elements = CPU_CHUNK_ELEMENTS if rows.device.type == "cpu" else CHUNK_ELEMENTS
    step = max(1, elements // max(1, rows.shape[-1]))
    for start in range(0, rows.shape[0], step):
        yield slice(start, start + step)


def _log_softmax(rows: Tensor) -> Tensor:
    return torch.log_softmax(rows.to(torch.promote_types(rows.dtype, torch.float32)), dim=-1)


def token_entropy(logits: Float[Tensor, "*batch vocab"]) -> Float[Tensor, "*batch"]:
    """Entropy in bits of the distribution that each row of logits defines.

    Args:
        logits: any floating dtype, any leading shape, the vocabulary last. `-inf` marks a token that
            cannot be written and adds nothing.

    Returns:
        The leading shape, in float32, or in float64 for float64 logits; differentiable. A row holding
        NaN or `+inf` has no distribution and gives NaN.

    Working memory: at most about three times `CHUNK_ELEMENTS` numbers beside the input (without autograd).

    Raises:
        BadInputError: no tensor, or one without a dimension of the vocabulary.

    >>> token_entropy(torch.zeros(2, 8)).round(decimals=4)
    tensor([3., 3.])
    """
    if not isinstance(logits, Tensor) or not logits.dim():
        raise BadInputError(f"logits={logits!r:.80}: expected a tensor [..., vocab]")
    rows = logits.reshape(-1, logits.shape[-1])
    parts = [_entropy_of_rows(rows[chunk]) for chunk in _row_chunks(rows)]
    if not parts:
        return rows.new_zeros(logits.shape[:-1], dtype=torch.promote_types(logits.dtype, torch.float32))
    return torch.cat(parts).reshape(logits.shape[:-1])


def _entropy_of_rows(rows: Tensor) -> Tensor:
    logp = _log_softmax(rows)
    finite = logp.clamp_min(torch.finfo(logp.dtype).min)  # 0 times -inf would be NaN
    return ((logp.exp() * finite).sum(-1) / -math.log(2.0)).abs()


def token_logprob(
    logits: Float[Tensor, "rows vocab"], tokens: Int[Tensor, " rows"]
) -> Float[Tensor, " rows"]:
    """Natural log-probability of `tokens[i]` under row i of `logits`, in float32 or better.

    >>> token_logprob(torch.zeros(1, 4), torch.tensor([2])).exp()
    tensor([0.2500])
    """
    parts = [
        _log_softmax(logits[chunk]).gather(-1, tokens[chunk, None]).squeeze(-1)
        for chunk in _row_chunks(logits)
    ]
    return torch.cat(parts)


def squared_logits_gradient(
    logits: Float[Tensor, "rows vocab"], tokens: Int[Tensor, " rows"]
) -> Float[Tensor, " rows"]:
    """Squared norm of d log p(y) / d logits, y = `tokens[i]`, under row i: 1 - 2 p(y) + sum_v p(v)^2.

    It costs nothing beside the logits, and trainers log it (verl's optimal token baseline rests on it), so
    that it is the baseline of every signal that takes a backward pass. In [0, 2), in float32 or better.
    Computed as (sum over the other tokens of p)^2 + sum of their p^2.

    >>> squared_logits_gradient(torch.zeros(1, 4), torch.tensor([2]))
    tensor([0.7500])
    """
    squares = logits.new_zeros(len(logits), dtype=torch.promote_types(logits.dtype, torch.float32))
    for chunk in _row_chunks(logits):
        others = _log_softmax(logits[chunk]).exp().scatter(-1, tokens[chunk, None], 0)
        squares[chunk] = others.sum(-1).square() + others.square().sum(-1)  # 1 - p(y) would lose its digits
    return squares
