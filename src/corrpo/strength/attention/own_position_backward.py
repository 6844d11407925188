"""Attention whose backward stays at its own position: what `own` and `last` put in a model's place.

Position t of the output is sum_s alpha_ts v_s. By causality only the term s = t of keys and values
carries a dependence of token t on itself; all other keys and values are constants (METHOD 5). With g_t
the derivative at the output of t, and per head

    e_ts = alpha_ts (g_t . v_s - g_t . out_t)      times the soft-capping's own derivative,

the backward is dq_t = scale sum_s e_ts k_s (all of it, as q_t belongs to t), dk_t = scale e_tt q_t and
dv_t = alpha_tt g_t. Rows of queries are taken a block at a time, so that memory grows with the length and
not with its square; alpha is made again in the backward, but kept where it is small.
"""

from typing import Any

import torch
from torch import Tensor

from corrpo.strength.attention.calls import (
    AttentionCall,
    grouped,
    per_kv_head,
    register_attention,
)

BACKEND = "corrpo_own_position"
_KEPT_ELEMENTS = 1 << 22


class OwnPositionAttention(torch.autograd.Function):
    """softmax(q k^T scale) v, with a backward that keeps each position's own part alone."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask, scaling, softcap) -> Tensor:
        """Attention output [B, H, T, d]."""
        call = AttentionCall(query, key, value, mask, scaling, softcap)
        ctx.kept = [] if query.shape[:3].numel() * query.shape[2] <= _KEPT_ELEMENTS else None
        rows = []
        for block, seen in call.row_blocks():
            alpha, factor = seen.weights(block)
            rows.append(per_kv_head(alpha.to(value.dtype), seen.value))
            if ctx.kept is not None:
                ctx.kept.append((alpha, factor))
        output = torch.cat(rows, dim=3).flatten(1, 2)
        ctx.save_for_backward(query, key, value, output)
        ctx.mask, ctx.scaling, ctx.softcap = mask, scaling, softcap
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """dq, dk, dv of the derivative at the output [B, H, T, d], own position alone."""
        query, key, value, output = ctx.saved_tensors
        call = AttentionCall(query, key, value, ctx.mask, ctx.scaling, ctx.softcap)
        q, out, g = (grouped(x, key.shape[1]) for x in (query, output, gradients[0]))
        dq, dk, dv = torch.zeros_like(q), torch.zeros_like(key), torch.zeros_like(value)
        for number, (block, seen) in enumerate(call.row_blocks()):
            alpha, factor = seen.weights(block) if ctx.kept is None else ctx.kept[number]
            e = seen.at_scores(alpha, factor, g[:, :, :, block], out[:, :, :, block])
            dq[:, :, :, block] = per_kv_head(e.to(q.dtype), seen.key).mul_(ctx.scaling)
            own_e, own_alpha = (
                x.diagonal(block.start, dim1=-2, dim2=-1)[..., None].to(q.dtype) for x in (e, alpha)
            )
            dk[:, :, block] = (own_e * q[:, :, :, block]).sum(2) * ctx.scaling
            dv[:, :, block] = (own_alpha * g[:, :, :, block]).sum(2)
        return dq.flatten(1, 2), dk, dv, None, None, None


def own_position_attention(call: AttentionCall) -> Tensor:
    """Attention output [B, H, T, d] of a call."""
    return OwnPositionAttention.apply(  # pyright: ignore[reportReturnType]
        call.query, call.key, call.value, call.mask, call.scaling, call.softcap
    )


register_attention(BACKEND, own_position_attention)
