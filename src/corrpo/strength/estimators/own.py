"""`own`: the own-position part of every gradient, all layers, one backward. An approximation.

Blocking every cross-position gradient makes one backward of sum_t z_t give each token's own derivatives
(METHOD 5). The gradient's part from position t' = t - 1 alone has rank one and norm |delta| |a|. In the
last attention layer that is the whole gradient of Q and O; elsewhere, and for K and V, it is a part.
"""

import torch
from torch import Tensor

from corrpo.models.memory import free_memory
from corrpo.strength.attention.own_position import BACKEND
from corrpo.strength.backward.blocks import blocks_of, vector_jacobian_products
from corrpo.strength.backward.differentiation_plan import plan_for
from corrpo.strength.backward.query import (
    Observed,
    Query,
    attention_backend,
    check_others,
    check_positionwise,
    derivatives_at,
    observed,
    target_scores,
)
from corrpo.strength.estimators.passes import has_room_for_graph
from corrpo.strength.norms.matrix_norms import rank_one_norm


def own(query: Query) -> Tensor:
    """Norms [n, layers, projections] (float64) of the own-position part of each gradient."""
    prefix = query.prefix(int(query.positions[-1]))
    plan = plan_for(query)
    with attention_backend(query.model, BACKEND, "own", "'exact' or 'reference'"):
        room = free_memory(query.input_ids.device)
        if plan.chain and not has_room_for_graph(plan.graph_bytes, prefix, room):
            return _block_by_block(query, prefix)
        with observed(query.layers, query.projections) as record:
            scores = target_scores(query, query.positions, prefix)
        deltas = derivatives_at(
            record, lambda outputs: torch.autograd.grad(scores.sum(), outputs, retain_graph=True)
        )
        lowest = min(range(len(query.layers)), key=lambda i: query.layers[i].index) * len(query.projections)
        check_positionwise(query, scores, record[lowest], deltas[lowest], "own")
    result = query.empty_result()
    for slot, (at, delta) in enumerate(zip(record, deltas, strict=True)):
        layer, kind = divmod(slot, len(query.projections))
        result[:, layer, kind] = _norms(query, at, delta)
    return result


def _block_by_block(query: Query, prefix: int) -> Tensor:
    """The same with the graph of one block at a time: a forward more, for long responses of large models."""
    result = query.empty_result()
    blocks = blocks_of(query.model, query.layers)
    assert blocks is not None
    for layer in vector_jacobian_products(query, blocks, query.positions, prefix, together=True):
        rows = query.rows.to(layer.deltas[0].device)
        check_others(query.model, rows, layer.deltas[0][0], "own")
        for kind, (at, delta) in enumerate(zip(layer.record, layer.deltas, strict=True)):
            result[:, layer.layer, kind] = _norms(query, at, delta[0])
    return result


def _norms(query: Query, at: Observed, delta: Tensor) -> Tensor:
    rows = query.rows.to(delta.device)
    norms = rank_one_norm(delta[0, rows], at.inputs[0, rows].detach(), query.norm)
    return norms.to(query.positions.device)
