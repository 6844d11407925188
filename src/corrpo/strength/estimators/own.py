"""`own`: the own-position part of every gradient, all layers, one backward. An approximation.

Blocking every cross-position gradient makes one backward of sum_t z_t give each token's own derivatives
(METHOD 5). The gradient's part from position t' = t - 1 alone has rank one and norm |delta| |a|. In the
last attention layer that is all of the gradient of Q and O; elsewhere, and for K and V, it is a part.
"""

from torch import Tensor

from corrpo.models.memory import free_memory
from corrpo.strength.attention.own_position_backward import BACKEND
from corrpo.strength.attention.replacement import replaced_attention
from corrpo.strength.derivatives.block_chain import blocks_of, vector_jacobian_products
from corrpo.strength.derivatives.differentiation_plan import plan_for
from corrpo.strength.derivatives.observation import (
    Observed,
    derivatives_of,
    distinct_outputs,
    observed,
    parts_at,
)
from corrpo.strength.derivatives.position_check import check_other_positions, check_positionwise
from corrpo.strength.derivatives.request import GradientRequest
from corrpo.strength.derivatives.scores import target_scores
from corrpo.strength.estimators.estimator import Estimator
from corrpo.strength.estimators.misfits import misfit_of_replaced_attention
from corrpo.strength.estimators.own_batched import batched_own
from corrpo.strength.estimators.passes import Pass, has_room_for_graph
from corrpo.strength.norms.factored import rank_one_norm


def own_position_norms(request: GradientRequest) -> Tensor:
    """Norms [n, layers, projections] (float64) of the own-position part of each gradient."""
    prefix = request.prefix(int(request.positions[-1]))
    keeps_graph = _passes(request)[0].keeps_graph
    with replaced_attention(request.model, BACKEND, "own", "'exact' or 'reference'"):
        if not keeps_graph:
            return _block_by_block(request, prefix)
        with observed(request.layers, request.spec.projections) as record:
            scores = target_scores(request, request.positions, prefix)
        outputs = distinct_outputs(record)
        derivatives = derivatives_of(scores, outputs, keep=True)
        check_positionwise(request, scores, outputs, derivatives, "own")
        deltas = parts_at(record, outputs, derivatives)
    result = request.empty_result()
    for slot, (at, delta) in enumerate(zip(record, deltas, strict=True)):
        layer, kind = divmod(slot, len(request.spec.projections))
        result[:, layer, kind] = _norms(request, at, delta)
    return result


def _passes(request: GradientRequest) -> list[Pass]:
    """All targets in one pass, with the graph of one block at a time where there is no room for all."""
    prefix, plan = request.prefix(int(request.positions[-1])), plan_for(request)
    room = free_memory(request.input_ids.device)
    keeps_graph = bool(request.hooks) or not plan.chain or has_room_for_graph(plan.graph_bytes(prefix), room)
    return [Pass(slice(0, len(request.positions)), prefix, keeps_graph, backwards=1)]


def _block_by_block(request: GradientRequest, prefix: int) -> Tensor:
    """The same with the graph of one block at a time: a forward more, for long responses of large models."""
    result = request.empty_result()
    blocks = blocks_of(request.model, request.layers)
    assert blocks is not None
    for layer in vector_jacobian_products(request, blocks, request.positions, prefix, together=True):
        for delta in layer.deltas:
            check_other_positions(request, request.rows, delta[0, 0], "own")
        for kind, (at, delta) in enumerate(zip(layer.record, layer.deltas, strict=True)):
            result[:, layer.layer, kind] = _norms(request, at, delta[0])
    return result


def _norms(request: GradientRequest, at: Observed, delta: Tensor) -> Tensor:
    rows = request.rows.to(delta.device)
    norms = rank_one_norm(delta[0, rows], at.inputs[0, rows].detach(), request.spec.norm)
    return norms.to(request.positions.device)


ESTIMATOR = Estimator(
    name="own",
    label="own-position part",
    summary="an approximation. It keeps only the part of each gradient that arises at the token's own "
    "position; only q and o of the last layer are exact.",
    norms=own_position_norms,
    passes=_passes,
    misfit=misfit_of_replaced_attention,
    is_exact=False,
    batched=batched_own,
    rollout_projections=("q", "o"),
    rollouts_by_upper_half=True,
)
