"""`reference`: one autograd backward per token, weight gradients, and a full SVD. The judge of all others.

Slow and obvious on purpose: it runs the model with the attention backend it came with, differentiates
each target with respect to the weights themselves, and takes the norm of the matrix it gets.
"""

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from corrpo.errors import UnsupportedModelError
from corrpo.estimators.query import Query
from corrpo.projections import Projection
from corrpo.spectra import matrix_norm


def reference(query: Query) -> Tensor:
    """Norms [n, layers, projections] (float64) by T full backwards and 4 L T decompositions."""
    projections = [
        (layer.projections[kind], layer.name) for layer in query.layers for kind in query.projections
    ]
    weights = [_weight(projection.module, name) for projection, name in projections]
    distinct = list({id(weight): weight for weight in weights}.values())
    result = query.empty_result()
    for weight in distinct:
        weight.requires_grad_(True)
    logits = query.model(input_ids=query.input_ids, use_cache=False).logits[0]
    if query.target == "logprob":
        logits = torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    for i, (row, token) in enumerate(zip(query.rows, query.tokens, strict=True)):
        gradients = torch.autograd.grad(logits[row, token], distinct, retain_graph=True)
        of = {id(weight): gradient for weight, gradient in zip(distinct, gradients, strict=True)}
        norms = [
            matrix_norm(_own_rows(of[id(weight)], projection), query.norm).item()
            for weight, (projection, _) in zip(weights, projections, strict=True)
        ]
        result[i] = torch.tensor(norms, dtype=result.dtype).reshape(result.shape[1:])
    return result


def _own_rows(gradient: Tensor, projection: Projection) -> Tensor:
    """The gradient [d_out, d_in] of a projection, from that of the weight it is part of."""
    module = getattr(projection.module, "base_layer", projection.module)
    rows = gradient.T if isinstance(module, Conv1D) else gradient
    return projection.of(rows.T).T


def _weight(module: nn.Module, layer: str) -> nn.Parameter:
    """The weight matrix of a projection; under LoRA, that of the layer beneath the adapter."""
    weight = getattr(getattr(module, "base_layer", module), "weight", None)
    if not isinstance(weight, nn.Parameter) or not weight.is_floating_point():
        raise UnsupportedModelError(
            f"estimator 'reference' needs the floating-point weight of every projection, and a "
            f"{type(module).__name__} in {layer} has none; use 'exact', 'last' or 'own'"
        )
    return weight
