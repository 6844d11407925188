"""`last`: closed forms for the last attention layer, exact there, from one forward and one short backward.

After the last attention layer everything acts on each position alone, so one backward of sum_t z_t gives
every token its own derivatives at the outputs of o_proj and q_proj and of the attention itself (METHOD 4).
With t' = t - 1 the position where token t is predicted, g^h the derivative at the output of head h, alpha
its attention weights and x the inputs of the projections:

- O and Q have rank one: |delta| |a| at t'.
- V: sum_h g^h c_h^T in the rows of h's key-value head, c_h = sum_s alpha^h_t's x_s; rank at most H.
- K: beta^h_t's = alpha^h_t's (g^h . v_s - g^h . out^h) / sqrt(d_head); the derivative at the key of s is
  sum_h beta^h_t's q^h_t', taken back through rotary embedding and key norm by autograd.
"""

from dataclasses import replace

import torch
from torch import Tensor

from corrpo.errors import UnsupportedModelError
from corrpo.strength.attention.calls import AttentionCall, RecordedCall, grouped, recorded_calls
from corrpo.strength.attention.own_position import BACKEND
from corrpo.strength.backward.query import (
    Observed,
    Query,
    attention_backend,
    check_positionwise,
    observed,
    target_scores,
)
from corrpo.strength.norms.matrix_norms import prefix_norms, product_norm, rank_one_norm, second_factor
from corrpo.strength.projections import PROJECTIONS

_GROUP_ELEMENTS = 1 << 25


def last(query: Query) -> Tensor:
    """Norms [n, 1, projections] (float64) in the last attention layer, `reference`'s but for rounding."""
    whole = replace(query, projections=PROJECTIONS)
    prefix = query.prefix(int(query.positions[-1]))
    with (
        attention_backend(query.model, BACKEND, "last", "'exact' or 'reference'"),
        recorded_calls(query.layers[0].mixer) as calls,
        observed(whole.layers, whole.projections) as record,
    ):
        scores = target_scores(query, query.positions, prefix)
    call, attended = _call_of(query, calls)
    io = dict(zip(PROJECTIONS, record, strict=True))
    wanted = [io["q"].output, io["o"].output, attended]
    at_q, at_o, g = torch.autograd.grad(scores.sum(), wanted, retain_graph=True)
    delta_q, delta_o = io["q"].part(at_q), io["o"].part(at_o)
    check_positionwise(query, scores, io["o"], delta_o, "last")
    query = replace(query, positions=query.positions.to(delta_o.device))
    columns = {
        "q": lambda: rank_one_norm(delta_q[0, query.rows], io["q"].inputs[0, query.rows], query.norm),
        "o": lambda: rank_one_norm(delta_o[0, query.rows], io["o"].inputs[0, query.rows], query.norm),
        "v": lambda: _value_norms(query, call, g, io["v"]),
        "k": lambda: _key_norms(query, call, attended.detach(), g, io["k"]),
    }
    norms = torch.stack([columns[kind]() for kind in query.projections], dim=-1)
    return norms[:, None].detach()


def _call_of(query: Query, calls: list[RecordedCall]) -> tuple[AttentionCall, Tensor]:
    """The one attention call of the measured layer, and its output."""
    if len(calls) != 1:
        raise UnsupportedModelError(
            f"estimator 'last' needs {query.layers[0].name} to call attention once, and it calls it "
            f"{len(calls)} times; use 'exact' or 'reference'"
        )
    return calls[0].call, calls[0].output


def _groups(query: Query, elements_per_target: int) -> list[slice]:
    """Neighbouring targets, as many at once as keep the working tensors bounded."""
    step = max(1, min(32, _GROUP_ELEMENTS // max(1, elements_per_target)))
    n = len(query.positions)
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def _at_rows(tensor: Tensor, rows: Tensor, kv_heads: int) -> Tensor:
    """Rows of [1, H, T, d] as [H_kv, H / H_kv, rows, d]."""
    return grouped(tensor, kv_heads)[0, :, :, rows]


def _value_norms(query: Query, call: AttentionCall, g: Tensor, at: Observed) -> Tensor:
    """Norms [n] of the gradients of V, from factors with one row per head."""
    inputs, output = at.inputs, at.part(at.output)
    if not torch.equal(call.value[0].transpose(0, 1).flatten(1), output[0]):
        raise UnsupportedModelError(
            f"estimator 'last' needs the values of attention to be the outputs of the V projection, and "
            f"{query.layers[0].name} changes them in between; use 'exact' or 'reference'"
        )
    kv_heads, width = call.key.shape[1], output.shape[-1]
    heads = call.query.shape[1]
    norms = []
    for group in _groups(query, heads * (width + inputs.shape[-1])):
        rows = query.rows[group]
        alpha = call.weights(rows)[0][0].detach()
        c = torch.matmul(alpha, inputs[0].to(alpha.dtype))  # [H_kv, groups, m, d_in]
        g_rows = _at_rows(g, rows, kv_heads)
        placed = g_rows.new_zeros(*g_rows.shape[:3], kv_heads, g_rows.shape[-1])
        for head in range(kv_heads):
            placed[head, :, :, head] = g_rows[head]
        norms.append(product_norm(_by_target(placed.flatten(3)), _by_target(c), query.norm, query.tolerance))
    return torch.cat(norms)


def _by_target(tensor: Tensor) -> Tensor:
    """[H_kv, groups, m, d] to [m, H, d]."""
    return tensor.flatten(0, 1).transpose(0, 1)


def _key_norms(query: Query, call: AttentionCall, output: Tensor, g: Tensor, at: Observed) -> Tensor:
    """Norms [n] of the gradients of K, from the derivatives at its output over each target's prefix."""
    kv_heads, length, width = call.key.shape[1], at.inputs.shape[1], at.output.shape[-1]
    factor = second_factor(at.inputs[0].detach(), query.norm)
    norms = []
    for group in _groups(query, length * (width + call.query.shape[1])):
        rows = query.rows[group]
        g_rows, q_rows, o_rows = (_at_rows(x, rows, kv_heads) for x in (g, call.query.detach(), output))
        alpha, by_scores = (x.detach() for x in call.weights(rows))
        beta = call.at_scores(alpha, by_scores, g_rows[None], o_rows[None])
        beta = (beta[0] * call.scaling).to(q_rows.dtype)
        at_keys = torch.einsum("jgms,jgmd->mjsd", beta, q_rows)
        (whole,) = torch.autograd.grad(
            call.key, at.output, at_keys[:, None], is_grads_batched=True, retain_graph=True
        )
        delta = at.part(whole)
        prefixes = query.positions[group].tolist()
        norms.append(prefix_norms(delta[:, 0], factor, prefixes, query.norm, query.tolerance))
    return torch.cat(norms)
