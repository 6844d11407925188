"""The scores that are differentiated: logits or log-probabilities of the tokens that were written."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from corrpo.errors import NonFiniteError
from corrpo.models.devices import is_spread
from corrpo.strength.derivatives.request import GradientRequest
from corrpo.strength.derivatives.user_hooks import hooks_of_output


def target_scores(request: GradientRequest, positions: Tensor, prefix: int) -> Tensor:
    """The differentiable scores z [m] of the tokens at `positions`, from one forward of `prefix` tokens.

    Raw logits, or natural log-probabilities; `prefix` is at least max(positions).
    """
    tokens, rows, ids = request.input_ids[0, positions], positions - 1, request.input_ids[0, :prefix]
    as_it_is = _has_hooked_logits(request)
    only = tokens if request.spec.target == "logit" and not as_it_is else None
    with target_columns_only(request.model, only, rows, prefix) as only_columns:
        logits = logits_at(request.model, ids, rows, of_all=as_it_is)
    if only_columns:
        scores = logits[:, 0]
    elif request.spec.target == "logit":
        scores = logits.gather(-1, tokens[:, None])[:, 0]
    else:
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        scores = torch.log_softmax(wide, dim=-1).gather(-1, tokens[:, None])[:, 0]
    if not torch.isfinite(scores).all():
        worst = int(positions[~torch.isfinite(scores)][0])
        raise NonFiniteError(
            f"the {request.spec.target} of the token at position {worst} is NaN or infinite; check the "
            "weights, and try a wider dtype (float32)"
        )
    return scores


def logits_at(model: Any, ids: Tensor, rows: Tensor, *, of_all: bool = False) -> Tensor:
    """The logits [n, vocabulary] of ids [T] at some rows, in ascending order, from one forward pass.

    The head reads these rows alone, unless logits are wanted `of_all` positions. A model that is spread over
    devices is asked for all rows from the first of them on: its hooks would leave the rows on another device.
    """
    options: dict[str, Any] = {}
    if not of_all:
        options["logits_to_keep"] = len(ids) - int(rows[0]) if is_spread(model) else rows
    return _kept_rows(model(input_ids=ids[None], use_cache=False, **options).logits[0], rows, len(ids))


def _has_hooked_logits(request: GradientRequest) -> bool:
    """Whether a user's hook may look at all logits of all positions."""
    head = request.model.get_output_embeddings() if hasattr(request.model, "get_output_embeddings") else None  # pyright: ignore
    return hooks_of_output(request.hooks, request.model if head is None else head)


def _kept_rows(tensor: Tensor, rows: Tensor, length: int) -> Tensor:
    """The given rows of `length`, of [..., T, d], which has these alone, or the last T of all.

    The last where more were asked for, all where a model does not mind logits_to_keep (xLSTM).
    """
    if tensor.shape[-2] == len(rows):
        return tensor
    return tensor[..., (rows - (length - tensor.shape[-2])).to(tensor.device), :]


@contextmanager
def target_columns_only(model: nn.Module, tokens: Tensor | None, rows: Tensor, length: int) -> Iterator[bool]:
    """Let a plain linear head compute, at row rows[i] of `length`, the logit of `tokens[i]` alone.

    The head is the largest matrix of many models and its gradient is dense; only one column of it is
    differentiated. What the model does to its logits afterwards (soft-capping, scaling) is kept, and must act
    on each logit alone, as in every architecture of transformers that we know. Yields False, and changes
    nothing, where the head is not a plain linear module or `tokens` is None.
    """
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None  # pyright: ignore
    if tokens is None or type(head) is not nn.Linear or "forward" in head.__dict__:
        yield False
        return

    head.forward = lambda hidden: picked_logits(head, _kept_rows(hidden, rows, length), tokens)  # pyright: ignore
    try:
        yield True
    finally:
        del head.forward


def picked_logits(head: nn.Linear, hidden: Tensor, tokens: Tensor) -> Tensor:
    """The logit of `tokens[i]` alone from row i of hidden [..., n, d]: [..., n, 1]."""
    columns = tokens.to(head.weight.device)
    picked = (hidden * head.weight[columns].to(hidden.device)).sum(-1, keepdim=True)
    return picked if head.bias is None else picked + head.bias[columns, None].to(picked.device)
