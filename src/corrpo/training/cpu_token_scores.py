"""TRL's log-probabilities of written tokens on a CPU, several times quicker where the vocabulary is wide.

TRL's fused head, without Triton, scores prompt and padding with the response, passes over each tile of the
logits some twenty times, and makes every logit again for the backward pass. Here only labelled positions are
scored, by one softmax that is kept for the backward pass. Same results within rounding (float32).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from trl.kernels import ChunkedLogProbFunction
from trl.trainer import utils as trl_utils

MOST_KEPT = 2**30
"""Bytes of probabilities that are kept for the backward pass; of a larger batch they are computed again."""
_ROWS = 128
"""Tokens whose logits over the whole vocabulary are held at a time going forward."""
_COLUMNS = 8192
"""Entries of the vocabulary that are held at a time going backward, for all tokens."""


@contextmanager
def token_scores_on_cpu(device: torch.device) -> Iterator[None]:
    """Let TRL's trainers score tokens as the module says within the block; on another device as ever.

    Heads with a bias, a scale or soft-capping, weights that are not float32, and autocast keep TRL's own
    function, on labelled positions alone.
    """
    if device.type != "cpu":
        yield
        return
    ours = {"_use_triton": lambda device: True, "_ChunkedLogProbFunction": _TokenScoresOnCPU}
    before = {name: getattr(trl_utils, name) for name in ours}
    for name, replacement in ours.items():
        setattr(trl_utils, name, replacement)
    try:
        yield
    finally:
        for name, original in before.items():
            setattr(trl_utils, name, original)


class _TokenScoresOnCPU:
    """In the place of TRL's ChunkedLogProbFunction, whose arguments and five results it has."""

    @staticmethod
    def apply(
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        temperature: float,
        chunk_size: int,
        softcapping: float | None,
        logit_scale: float,
        outputs: tuple[str, ...],
    ) -> Any:
        """Log-probability, entropy, log of the sum of squared probabilities, mean logit, whether on top."""
        is_plain = bias is None and softcapping is None and logit_scale == 1
        is_float32 = hidden.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        if not (is_plain and is_float32):
            return ChunkedLogProbFunction.apply(
                hidden, weight, bias, targets, temperature, chunk_size, softcapping, logit_scale, outputs
            )
        size = hidden.shape[0] * weight.shape[0] * weight.element_size()
        keeps = torch.is_grad_enabled() and size <= MOST_KEPT
        return _TokenScores.apply(hidden, weight, targets, temperature, outputs, keeps)


class _TokenScores(torch.autograd.Function):
    """Scores of targets, int64 [tokens], under softmax(hidden @ weight.T / temperature), float32.

    hidden is [tokens, width], weight [vocabulary, width]. The gradients of a log-probability and of an
    entropy H with respect to the logits z / temperature are onehot(target) - p and -p (log p + H).
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        temperature: float,
        outputs: tuple[str, ...],
        keeps: bool,
    ) -> tuple[Tensor | None, ...]:
        """Float32 [tokens] each (the last bool), None where not among outputs, but the first always."""
        ctx.set_materialize_grads(False)
        count, vocabulary = hidden.shape[0], weight.shape[0]
        logits = hidden.new_empty(min(count, _ROWS), vocabulary)
        kept = hidden.new_empty(count if keeps else min(count, _ROWS), vocabulary)
        written, normalizer, entropy, squares, mean = hidden.new_empty(5, count)
        on_top = targets.new_empty(count, dtype=torch.bool)
        for start in range(0, count, _ROWS):
            rows = slice(start, min(start + _ROWS, count))
            target = targets[rows, None]
            z = torch.mm(hidden[rows], weight.T, out=logits[: len(target)])
            z /= temperature
            p = torch.softmax(z, -1, out=kept[rows] if keeps else kept[: len(target)])
            highest, at = z.max(-1, keepdim=True)
            written[rows] = z.gather(-1, target)[:, 0]
            normalizer[rows] = (highest - p.gather(-1, at).log())[:, 0]
            entropy[rows] = normalizer[rows] - torch.linalg.vecdot(p, z)
            on_top[rows] = (at == target)[:, 0]
            if "log_sum_sq_probs" in outputs:
                squares[rows] = torch.linalg.vecdot(p, p).log()
            if "mean_logits" in outputs:
                mean[rows] = z.mean(-1)
        ctx.temperature = temperature
        ctx.save_for_backward(hidden, weight, targets, normalizer, entropy, kept if keeps else None)
        ctx.mark_non_differentiable(squares, mean, on_top)
        values = {"entropy": entropy, "log_sum_sq_probs": squares, "mean_logits": mean, "is_top1": on_top}
        return written - normalizer, *(value if name in outputs else None for name, value in values.items())

    @staticmethod
    def backward(ctx: Any, by_score: Tensor | None, by_entropy: Tensor | None, *_: Any) -> Any:
        """Gradients of hidden and weight, where they are needed."""
        hidden, weight, targets, normalizer, entropy, kept = ctx.saved_tensors
        by_score = torch.zeros_like(entropy) if by_score is None else by_score
        score = by_score[:, None] / ctx.temperature
        grad_hidden = score * weight[targets]
        grad_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        for start in range(0, weight.shape[0], _COLUMNS):
            columns = slice(start, start + _COLUMNS)
            if kept is None:
                p = torch.exp(hidden @ weight[columns].T / ctx.temperature - normalizer[:, None])
            else:
                p = kept[:, columns]
            spread = -score * p
            if by_entropy is not None:
                towards = torch.special.xlogy(p, p) + p * entropy[:, None]
                spread -= by_entropy[:, None] / ctx.temperature * towards
            grad_hidden.addmm_(spread, weight[columns])
            if grad_weight is not None:
                torch.mm(spread.T, hidden, out=grad_weight[columns])
        if grad_weight is not None:
            grad_weight.index_add_(0, targets, score * hidden)
        return grad_hidden, grad_weight, None, None, None, None
