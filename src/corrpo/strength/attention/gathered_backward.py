"""The backward of attention for some query rows and some keys of every target: what `pruned` does.

A target t comes with g_tp, the derivative at the attention output of its kept query rows p, and with its
kept keys s. With alpha and the log of the softmax's denominator known from the forward pass,

    e_ps = alpha_ps (g_p . v_s - g_p . out_p)      times the soft-capping's own derivative,
    dq_p = scale sum_s e_ps k_s      dk_s = scale sum_p e_ps q_p      dv_s = sum_p alpha_ps g_p

over kept rows and keys alone. All of it is in float32 or better, and nothing grows with the length but
`key_mass`, by which the keys are chosen.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor

from corrpo.strength.attention.calls import AttentionCall, register_attention
from corrpo.strength.attention.manual_backward import cut_attention
from corrpo.strength.norms.rounding import vector_lengths

BACKEND = "corrpo_gathered"

_answer: ContextVar[Callable[[AttentionCall], Tensor]]
_answer = ContextVar("corrpo_gathered_answer", default=cut_attention)


@contextmanager
def attention_answered_by(answer: Callable[[AttentionCall], Tensor]) -> Iterator[None]:
    """Let `answer` give the output [1, H, T, d] of every call, while this backend is in place."""
    token = _answer.set(answer)
    try:
        yield
    finally:
        _answer.reset(token)


@dataclass(frozen=True)
class SavedCall:
    """What is kept of a call of one sequence, in float32 or better.

    Attributes:
        call: the call itself.
        output: [T, H, d].
        log_sums: [T, H], the logarithm of the softmax's denominator.
    """

    call: AttentionCall
    output: Tensor
    log_sums: Tensor


def saved_call(call: AttentionCall) -> SavedCall:
    """Take a call's output and log sums, a block of rows at a time."""
    outputs, sums = [], []
    for rows, seen in call.row_blocks():
        exponents = seen.exponents(seen.scores(rows), rows)[0]  # [H_kv, groups, rows, keys]
        values = seen.value[0].to(exponents.dtype)[:, None]
        outputs.append((torch.softmax(exponents, dim=-1) @ values).flatten(0, 1))
        sums.append(torch.logsumexp(exponents, dim=-1).flatten(0, 1))
    return SavedCall(call, torch.cat(outputs, 1).transpose(0, 1), torch.cat(sums, 1).transpose(0, 1))


def key_mass(saved: SavedCall, g: Tensor, rows: Tensor) -> Tensor:
    """How much of g each key is given through the attention weights: sum over p and heads of alpha_ps |g_p|.

    Args:
        saved: of a sequence of T tokens.
        g: [n, rows, H, d].
        rows: LongTensor [n, rows].

    Returns:
        [n, T].
    """
    call = saved.call
    length = call.key.shape[2]
    weights = vector_lengths(g).to(saved.log_sums.dtype)  # [n, rows, H]
    dense = weights.new_zeros(len(g), length, weights.shape[-1])
    dense = dense.scatter_(1, rows[..., None].expand_as(weights), weights).permute(2, 0, 1)  # [H, n, T]
    mass = dense.new_zeros(len(g), length)
    for block, seen in call.row_blocks():
        alpha = seen.attend(seen.scores(block), block)[0].flatten(0, 1)  # [H, rows, keys]
        mass[:, : block.stop] += (dense[:, :, block] @ alpha).sum(0)
    return mass


def gathered_derivatives(
    saved: SavedCall, g: Tensor, rows: Tensor, keys: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The derivatives at kept queries [n, rows, H, d], and at kept keys and values [n, keys, H_kv, d].

    Args:
        saved: of a sequence of T tokens.
        g: [n, rows, H, d], at the outputs of the kept rows.
        rows, keys: LongTensor [n, rows], [n, keys].
    """
    call, wide = saved.call, saved.output.dtype
    kv_heads = call.key.shape[1]
    q = _by_head(_at(call.query, rows).to(wide), kv_heads) * call.scaling  # [n, H_kv, groups rows, d]
    k, v = (_at(x, keys).to(wide).transpose(1, 2) for x in (call.key, call.value))  # [n, H_kv, keys, d]
    g = g.to(wide)
    at_output = (g * saved.output[rows]).sum(-1, keepdim=True)
    exponents, factor = q @ k.mT, None
    if call.softcap is not None:
        capped = torch.tanh(exponents / call.softcap)
        exponents, factor = capped * call.softcap, 1 - capped.square()
    alpha = exponents.sub_(_by_head(saved.log_sums[rows][..., None], kv_heads)).exp_()
    seen = call.seen_pairs(rows, keys)
    if seen is not None:
        groups = call.query.shape[1] // kv_heads
        alpha.unflatten(2, (groups, -1)).masked_fill_(~seen[:, None, None].to(alpha.device), 0.0)
    g = _by_head(g, kv_heads)
    e = (g @ v.mT).sub_(_by_head(at_output, kv_heads)).mul_(alpha)
    if factor is not None:
        e.mul_(factor)
    dq = (e @ k).mul_(call.scaling)
    dq = dq.unflatten(2, (-1, rows.shape[1])).flatten(1, 2).transpose(1, 2)
    return dq, (e.mT @ q).transpose(1, 2), (alpha.mT @ g).transpose(1, 2)


def _at(tensor: Tensor, places: Tensor) -> Tensor:
    """Places [n, k] of [1, H, T, d], as [n, k, H, d]."""
    return tensor[0].transpose(0, 1)[places]


def _by_head(rows: Tensor, kv_heads: int) -> Tensor:
    """[n, rows, H, d] as [n, H_kv, groups rows, d]."""
    return rows.transpose(1, 2).unflatten(1, (kv_heads, -1)).flatten(2, 3)


def answered_attention(call: AttentionCall) -> Tensor:
    """Attention output [1, H, T, d] by whoever answers now: `attention_answered_by`, or else it is a leaf."""
    return _answer.get()(call)


register_attention(BACKEND, answered_attention)
