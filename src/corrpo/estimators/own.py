"""`own`: the own-position part of every gradient, all layers, one backward. An approximation.

Blocking every cross-position gradient makes one backward of sum_t z_t give each token's own derivatives
(METHOD 5). The gradient's part from position t' = t - 1 alone has rank one and norm |delta| |a|. In the
last attention layer that is the whole gradient of Q and O; elsewhere, and for K and V, it is a part.
"""

import torch
from torch import Tensor

from corrpo.estimators.attention import BACKEND
from corrpo.estimators.query import Query, attention_backend, observed, target_scores
from corrpo.spectra import rank_one_norm


def own(query: Query) -> Tensor:
    """Norms [n, layers, projections] (float64) of the own-position part of each gradient."""
    prefix = int(query.positions[-1])
    with attention_backend(query.model, BACKEND, "own", "'reference'"), observed(query) as record:
        scores = target_scores(query, query.positions, prefix)
    deltas = torch.autograd.grad(scores.sum(), [output for _, output in record])
    norms = [
        rank_one_norm(delta[0, query.rows], inputs[0, query.rows], query.norm)
        for (inputs, _), delta in zip(record, deltas, strict=True)
    ]
    return torch.stack(norms, dim=-1).reshape(query.empty_result().shape).detach()
