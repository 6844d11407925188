"""Attention that is cut out of the graph and differentiated by hand: what `exact` puts in a model's place.

The output of a call is a leaf; its derivatives for many targets at once, g [m, B, H, T, d], are brought to
the queries, keys and values by `attention_derivatives`, a block of query rows at a time: with alpha the
attention weights of a block, made again there and shared by the targets,

    e_ts = alpha_ts (g_t . v_s - g_t . out_t)      times the soft-capping's own derivative,
    dq_t = scale sum_s e_ts k_s      dk_s = scale sum_t e_ts q_t      dv_s = sum_t alpha_ts g_t

so that nothing grows with the square of the length. Heads that share a key-value head, targets and rows go
into one matrix product.
"""

import torch
from torch import Tensor

from corrpo.strength.attention.calls import (
    AttentionCall,
    grouped,
    less_output,
    per_kv_head,
    register_attention,
)

BACKEND = "corrpo_cut"


def cut_attention(call: AttentionCall) -> Tensor:
    """Attention output [B, H, T, d]: a leaf, if the call has a graph."""
    with torch.no_grad():
        blocks = [
            per_kv_head(seen.attend(seen.scores(rows), rows).to(call.value.dtype), seen.value)
            for rows, seen in call.row_blocks()
        ]
        output = torch.cat(blocks, dim=3).flatten(1, 2)
    return output.requires_grad_(any(x.requires_grad for x in (call.query, call.key, call.value)))


def attention_derivatives(call: AttentionCall, output: Tensor, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The derivatives at queries [m, 1, H, T, d], keys and values [m, 1, H_kv, T, d] of m at the output.

    `output` is [1, H, T, d] of the call, of one sequence; g [m, 1, H, T, d].
    """
    with torch.no_grad():
        kv_heads = call.key.shape[1]
        at = g[:, 0].transpose(0, 1).unflatten(0, (kv_heads, -1))  # [H_kv, groups, m, T, d]
        q, out = (grouped(x, kv_heads)[0] for x in (call.query, output))  # [H_kv, groups, T, d]
        dq = at.new_empty(*at.shape[:-1], q.shape[-1])
        dk = at.new_zeros(kv_heads, len(g), call.key.shape[2], call.key.shape[3])
        dv = at.new_zeros(kv_heads, call.value.shape[2], len(g), call.value.shape[3])
        for rows, seen in call.row_blocks(len(g)):
            alpha, factor = (x[0] for x in seen.weights(rows))  # [H_kv, groups, rows, keys]
            g_rows = at[:, :, :, rows]
            at_values = _per_head(g_rows, seen.value[0].mT)  # [H_kv, groups, m, rows, keys]
            e = less_output(at_values, alpha[:, :, None], g_rows, out[:, :, None, rows])
            e = e.mul_(factor[:, :, None]).to(q.dtype)
            dq[:, :, :, rows] = _per_head(e, seen.key[0]).mul_(call.scaling)
            stop = rows.stop
            q_rows = (q[:, :, rows] * call.scaling).flatten(1, 2)[:, None]  # [H_kv, 1, groups rows, d]
            dk[:, :, :stop] += e.transpose(1, 2).flatten(2, 3).mT @ q_rows
            beside = g_rows.transpose(2, 3).flatten(1, 2).flatten(2)  # [H_kv, groups rows, m d]
            dv[:, :stop] += (alpha.to(q.dtype).flatten(1, 2).mT @ beside).unflatten(-1, (len(g), -1))
        dq = dq.flatten(0, 1).transpose(0, 1)[:, None]
        return dq, dk.transpose(0, 1)[:, None], dv.permute(2, 0, 1, 3)[:, None]


def _per_head(rows: Tensor, matrix: Tensor) -> Tensor:
    """[H_kv, groups, m, rows, x] times [H_kv, x, y]."""
    return torch.matmul(rows.flatten(1, 3), matrix).unflatten(1, rows.shape[1:4])


register_attention(BACKEND, cut_attention)
