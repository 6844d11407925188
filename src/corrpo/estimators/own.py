"""`own`: the own-position part of every gradient, all layers, one backward. An approximation.

Blocking every cross-position gradient makes one backward of sum_t z_t give each token's own derivatives
(METHOD 5). The gradient's part from position t' = t - 1 alone has rank one and norm |delta| |a|. In the
last attention layer that is the whole gradient of Q and O; elsewhere, and for K and V, it is a part.
"""

import torch
from torch import Tensor

from corrpo.estimators.own_position import BACKEND
from corrpo.estimators.query import (
    Query,
    attention_backend,
    check_positionwise,
    derivatives_at,
    observed,
    target_scores,
)
from corrpo.spectra import rank_one_norm


def own(query: Query) -> Tensor:
    """Norms [n, layers, projections] (float64) of the own-position part of each gradient."""
    prefix = int(query.positions[-1])
    with (
        attention_backend(query.model, BACKEND, "own", "'exact' or 'reference'"),
        observed(query.layers, query.projections) as record,
    ):
        scores = target_scores(query, query.positions, prefix)
    deltas = derivatives_at(
        record, lambda outputs: torch.autograd.grad(scores.sum(), outputs, retain_graph=True)
    )
    check_positionwise(query, scores, record[0], deltas[0], "own")
    result = query.empty_result()
    for slot, (at, delta) in enumerate(zip(record, deltas, strict=True)):
        layer, kind = divmod(slot, len(query.projections))
        rows = query.rows.to(delta.device)
        result[:, layer, kind] = rank_one_norm(delta[0, rows], at.inputs[0, rows].detach(), query.norm)
    return result
