"""A model made ready to be differentiated, and given back in the state it was in."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from corrpo.models.eval_mode import eval_mode
from corrpo.models.turns import model_turn, process_turn
from corrpo.strength.derivatives.user_hooks import user_hooks


@contextmanager
def frozen_eval_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode and no weight requiring grad inside; each module's mode and each flag restored after.

    With hooks of a user the embeddings require grad, so that every hook finds the graph that it expects.
    What torch.compile made of a model, or of parts of it, runs eagerly inside: compiled code knows no hooks
    that come later, and its backward cannot be run twice. That is set for the whole process, and models may
    share a config or be one model, so threads take turns.
    """
    with model_turn(model), process_turn, _restored_after(model):
        yield


@contextmanager
def _restored_after(model: nn.Module) -> Iterator[None]:
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    start = _embeddings(model) if user_hooks(model) else None
    eager = torch.compiler.set_stance("force_eager")
    with eager, eval_mode(model), torch.inference_mode(False), torch.enable_grad():
        try:
            for parameter, _ in flags:
                parameter.requires_grad_(parameter is start)
            yield
        finally:
            for parameter, requires_grad in flags:
                parameter.requires_grad_(requires_grad)


def _embeddings(model: nn.Module) -> nn.Parameter | None:
    """The matrix of the input embeddings, if it can require grad."""
    module = model.get_input_embeddings() if hasattr(model, "get_input_embeddings") else None  # pyright: ignore
    weight = getattr(module, "weight", None)
    fits = isinstance(weight, nn.Parameter) and weight.is_floating_point() and not weight.is_inference()
    return weight if fits else None
