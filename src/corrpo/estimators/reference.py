"""`reference`: one autograd backward per token, weight gradients, and a full SVD. The judge of all others.

Slow and obvious on purpose: it runs the model with the attention backend it came with, differentiates
each target with respect to the weights themselves, and takes the norm of the matrix it gets.
"""

import torch
from torch import Tensor, nn

from corrpo.errors import UnsupportedModelError
from corrpo.estimators.query import Query
from corrpo.spectra import matrix_norm


def reference(query: Query) -> Tensor:
    """Norms [n, layers, projections] (float64) by T full backwards and 4 L T decompositions."""
    weights = [
        _weight(layer.projections[kind], layer.name) for layer in query.layers for kind in query.projections
    ]
    result = query.empty_result()
    for weight in weights:
        weight.requires_grad_(True)
    logits = query.model(input_ids=query.input_ids, use_cache=False).logits[0]
    if query.target == "logprob":
        logits = torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    for i, (row, token) in enumerate(zip(query.rows, query.tokens, strict=True)):
        gradients = torch.autograd.grad(logits[row, token], weights, retain_graph=True)
        norms = torch.tensor([matrix_norm(gradient, query.norm).item() for gradient in gradients])
        result[i] = norms.reshape(result.shape[1:])
    return result


def _weight(module: nn.Module, layer: str) -> nn.Parameter:
    """The weight matrix of a projection; under LoRA, that of the layer beneath the adapter."""
    weight = getattr(getattr(module, "base_layer", module), "weight", None)
    if not isinstance(weight, nn.Parameter) or not weight.is_floating_point():
        raise UnsupportedModelError(
            f"estimator 'reference' needs the floating-point weight of every projection, and a "
            f"{type(module).__name__} in {layer} has none; use 'exact', 'last' or 'own'"
        )
    return weight
