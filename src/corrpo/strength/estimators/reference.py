"""`reference`: one autograd backward per token, weight gradients, and a full SVD. The judge of all others.

Slow and obvious on purpose: it runs the model with the attention backend it came with, differentiates
each target with respect to the weights themselves, and takes the norm of the matrix it gets.

Under an adapter (LoRA, DoRA, ...) what is measured is the gradient of the effective weight, base and adapter
taken together. The base weight's gradient is the same for LoRA and another for DoRA, which scales the rows of
the sum. So the target is differentiated by a matrix of zeros that is added to the effective weight.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from corrpo.errors import UnsupportedModelError
from corrpo.strength.derivatives.forwards import run_by
from corrpo.strength.derivatives.observation import derivatives_of
from corrpo.strength.derivatives.request import GradientRequest
from corrpo.strength.estimators.estimator import Estimator
from corrpo.strength.estimators.passes import Pass
from corrpo.strength.norms.factored import matrix_norm
from corrpo.strength.projections.projection import Projection


def reference_norms(request: GradientRequest) -> Tensor:
    """Norms [n, layers, projections] (float64) by T full backwards and 4 L T decompositions."""
    projections = [
        (layer.projections[kind], layer.name) for layer in request.layers for kind in request.spec.projections
    ]
    modules = list({id(projection.module): projection.module for projection, _ in projections}.values())
    names = {id(projection.module): name for projection, name in projections}
    with _differentiable(modules, [_weight(module, names[id(module)]) for module in modules]) as distinct:
        logits = _logits(request)
        place = {id(module): number for number, module in enumerate(modules)}
        result = request.empty_result()
        if request.spec.target == "logprob":
            logits = torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
        for i, (row, token) in enumerate(zip(request.rows, request.tokens, strict=True)):
            gradients = derivatives_of(logits[row, token], distinct, keep=True)
            of_projections = [
                _rows_of(gradients[place[id(projection.module)]], projection) for projection, _ in projections
            ]
            norms = [matrix_norm(gradient, request.spec.norm).item() for gradient in of_projections]
            result[i] = torch.tensor(norms, dtype=result.dtype).reshape(result.shape[1:])
    return result


def _logits(request: GradientRequest) -> Tensor:
    """Logits [T, vocabulary] of the model with its own attention.

    Raises:
        UnsupportedModelError: its attention cannot run here, or has no backward here.
    """
    try:
        return request.model(input_ids=request.input_ids, use_cache=False).logits[0]
    except (ImportError, NotImplementedError) as error:
        backend = getattr(request.model.config, "_attn_implementation", None)
        raise UnsupportedModelError(
            f"estimator 'reference' runs the model's own attention, {backend!r}, which fails here ({error}); "
            "use 'exact', 'last' or 'own', or load the model with attn_implementation='eager'"
        ) from error


@contextmanager
def _differentiable(modules: Sequence[nn.Module], weights: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """What to differentiate by for the gradient of each module's effective weight.

    Hooks that a user has put on a weight would change its gradient, and are off.
    """
    chosen: list[Tensor] = []
    adapted: dict[nn.Module, Callable[..., Tensor]] = {}
    hooks = [(weight, weight._backward_hooks) for weight in weights]
    for module, weight in zip(modules, weights, strict=True):
        if not hasattr(module, "base_layer"):
            chosen.append(weight.requires_grad_(True))
            continue
        chosen.append(torch.zeros_like(weight, requires_grad=True))
        adapted[module] = _adding(chosen[-1], module)
    try:
        for weight, _ in hooks:
            weight._backward_hooks = None
        with run_by(adapted):
            yield chosen
    finally:
        for weight, before in hooks:
            weight._backward_hooks = before


def _adding(zeros: Tensor, module: nn.Module) -> Callable[..., Tensor]:
    """An adapted module's forward, with `zeros` [d_out, d_in] added to the effective weight."""
    forward, matrix = module.forward, zeros.T if isinstance(module.base_layer, Conv1D) else zeros

    def run(inputs: Tensor, *arguments: Any, **options: Any) -> Tensor:
        output = forward(inputs, *arguments, **options)
        return output + functional.linear(inputs.to(zeros.dtype), matrix).to(output.dtype)

    return run


def _rows_of(gradient: Tensor, projection: Projection) -> Tensor:
    """The gradient [d_out, d_in] of a projection, from that of the weight it is part of."""
    module = getattr(projection.module, "base_layer", projection.module)
    rows = gradient.T if isinstance(module, Conv1D) else gradient
    return projection.of(rows.T).T


def _weight(module: nn.Module, layer: str) -> nn.Parameter:
    """The weight matrix of a projection; that of the layer beneath where there is an adapter."""
    weight = getattr(getattr(module, "base_layer", module), "weight", None)
    if not isinstance(weight, nn.Parameter) or not weight.is_floating_point():
        raise UnsupportedModelError(
            f"estimator 'reference' needs the floating-point weight of every projection, and a "
            f"{type(module).__name__} in {layer} has none; use 'exact', 'last' or 'own'"
        )
    return weight


def _passes(request: GradientRequest) -> list[Pass]:
    targets = len(request.positions)
    return [Pass(slice(0, targets), request.input_ids.shape[1], keeps_graph=True, backwards=targets)]


ESTIMATOR = Estimator(
    name="reference",
    label="reference",
    summary="one backward pass per token and the singular values of every gradient. It is the judge of the "
    "other estimators.",
    norms=reference_norms,
    passes=_passes,
    misfit=None,
    is_exact=True,
)
