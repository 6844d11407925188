"""The scores that are differentiated: logits or log-probabilities of the tokens that were written."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from corrpo.errors import NonFiniteError
from corrpo.strength.derivatives.request import GradientRequest
from corrpo.strength.derivatives.user_hooks import hooks_of_output


def target_scores(request: GradientRequest, positions: Tensor, prefix: int) -> Tensor:
    """The differentiable scores z [m] of the tokens at `positions`, from one forward of `prefix` tokens.

    Raw logits, or natural log-probabilities; `prefix` is at least max(positions).
    """
    tokens, rows = request.input_ids[0, positions], positions - 1
    inputs = {"input_ids": request.input_ids[:, :prefix], "use_cache": False}
    as_it_is = _has_hooked_logits(request)
    if not as_it_is:
        inputs["logits_to_keep"] = rows
    only = tokens if request.spec.target == "logit" and not as_it_is else None
    with target_columns_only(request.model, only, rows) as only_columns:
        logits = _kept_rows(request.model(**inputs).logits[0], rows)
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


def _has_hooked_logits(request: GradientRequest) -> bool:
    """Whether a user's hook may look at all logits of all positions."""
    head = request.model.get_output_embeddings() if hasattr(request.model, "get_output_embeddings") else None  # pyright: ignore
    return hooks_of_output(request.hooks, request.model if head is None else head)


def _kept_rows(tensor: Tensor, rows: Tensor) -> Tensor:
    """The given rows of [..., T, d], where a model did not mind logits_to_keep (xLSTM) and gives all T."""
    return tensor if tensor.shape[-2] == len(rows) else tensor[..., rows.to(tensor.device), :]


@contextmanager
def target_columns_only(model: nn.Module, tokens: Tensor | None, rows: Tensor) -> Iterator[bool]:
    """Let a plain linear head compute, at row rows[i] of the sequence, the logit of `tokens[i]` alone.

    The head is the largest matrix of many models and its gradient is dense; only one column of it is
    differentiated. What the model does to its logits afterwards (soft-capping, scaling) is kept, and must act
    on each logit alone, as in every architecture of transformers that we know. Yields False, and changes
    nothing, where the head is not a plain linear module or `tokens` is None.
    """
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None  # pyright: ignore
    if tokens is None or type(head) is not nn.Linear or "forward" in head.__dict__:
        yield False
        return

    head.forward = lambda hidden: picked_logits(head, _kept_rows(hidden, rows), tokens)  # pyright: ignore
    try:
        yield True
    finally:
        del head.forward


def picked_logits(head: nn.Linear, hidden: Tensor, tokens: Tensor) -> Tensor:
    """The logit of `tokens[i]` alone from row i of hidden [..., n, d]: [..., n, 1]."""
    columns = tokens.to(head.weight.device)
    picked = (hidden * head.weight[columns].to(hidden.device)).sum(-1, keepdim=True)
    return picked if head.bias is None else picked + head.bias[columns, None].to(picked.device)
