"""Attention whose backward stays at its own position: what `own` and `last` put in a model's place.

Position t of the output is sum_s alpha_ts v_s. By causality only the term s = t of keys and values
carries a dependence of token t on itself; all other keys and values are constants (METHOD 5). With g_t
the derivative at the output of t, and per head

    e_ts = alpha_ts (g_t . v_s - g_t . out_t)      times the soft-capping's own derivative: autograd's,

the backward is dq_t = scale sum_s e_ts k_s (whole, as q_t belongs to t), dk_t = scale e_tt q_t and
dv_t = alpha_tt g_t. Rows of queries are taken a block at a time, so that memory grows with the length and
not with its square; alpha is made again in the backward, but kept where it is small.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from corrpo.errors import UnsupportedModelError

BACKEND = "corrpo_own_position"
_BLOCK_ELEMENTS = 1 << 24
_KEPT_ELEMENTS = 1 << 22
_LEAST_ROWS = 32
_HARMLESS = {
    "sliding_window",  # already in the mask
    "position_ids",
    "use_cache",
    "cache_position",
    "is_causal",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "return_dict",
    "logits_to_keep",
}


@dataclass(frozen=True)
class AttentionCall:
    """What one attention layer was given: queries [B, H, T, d], keys and values [B, H_kv, T, d], and how.

    `mask` is additive, [B or 1, 1, T, T].
    """

    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    scaling: float
    softcap: float | None

    def until(self, stop: int) -> "AttentionCall":
        """The same call with the keys and values of the first `stop` positions alone."""
        mask = None if self.mask is None else self.mask[..., :stop]
        return replace(self, key=self.key[:, :, :stop], value=self.value[:, :, :stop], mask=mask)

    def scores(self, rows: Tensor | slice) -> Tensor:
        """Scaled q.k of some query rows, [B, H_kv, H / H_kv, rows, keys] in float32 or better."""
        query = grouped(self.query * self.scaling, self.key.shape[1])[:, :, :, rows]
        scores = _per_kv_head(query, self.key.mT)
        return scores.to(torch.promote_types(scores.dtype, torch.float32))

    def attend(self, scores: Tensor, rows: Tensor | slice) -> Tensor:
        """Attention weights alpha of `scores(rows)`: soft-capped, masked, softmaxed."""
        if self.softcap is not None:
            scores = torch.tanh(scores / self.softcap) * self.softcap
        if self.mask is not None:
            scores = scores + self.mask[:, :, None, rows, : self.key.shape[2]].to(scores.dtype)
        return torch.softmax(scores, dim=-1)

    def weights(self, rows: slice | Tensor) -> tuple[Tensor, Tensor]:
        """Attention weights alpha of some rows, and the scores that they are differentiable in."""
        with torch.enable_grad():
            scores = self.scores(rows).detach().requires_grad_(True)
            return self.attend(scores, rows), scores

    def at_scores(self, alpha: Tensor, scores: Tensor, g: Tensor) -> Tensor:
        """The derivative e at the scores, for one of g [B, H_kv, H / H_kv, rows, d] at the outputs."""
        at_weights = _per_kv_head(g, self.value.mT).to(alpha.dtype)
        return torch.autograd.grad(alpha, scores, at_weights, retain_graph=True)[0]


def grouped(tensor: Tensor, kv_heads: int) -> Tensor:
    """[B, H, T, d] as [B, H_kv, H / H_kv, T, d]: the heads that share a key-value head together."""
    return tensor.unflatten(1, (kv_heads, -1))


def _per_kv_head(rows: Tensor, matrix: Tensor) -> Tensor:
    """[B, H_kv, groups, rows, x] times [B, H_kv, x, y], as one product per key-value head."""
    return torch.matmul(rows.flatten(2, 3), matrix).unflatten(2, rows.shape[2:4])


def _row_blocks(call: AttentionCall) -> Iterator[tuple[slice, AttentionCall]]:
    """Blocks of query rows, and the call with the keys that they can see.

    Four blocks or more spare most of the half of q.k that causality hides.
    """
    batch, heads, length = call.query.shape[:3]
    fitting = _BLOCK_ELEMENTS // max(1, batch * heads * length)
    step = max(1, min(fitting, max(_LEAST_ROWS, -(-length // 4))))
    for start in range(0, length, step):
        stop = min(start + step, length)
        yield slice(start, stop), call.until(stop)


class OwnPositionAttention(torch.autograd.Function):
    """softmax(q k^T scale) v, with a backward that keeps each position's own part alone."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask, scaling, softcap) -> Tensor:
        """Attention output [B, H, T, d]."""
        call = AttentionCall(query, key, value, mask, scaling, softcap)
        ctx.kept = [] if query.shape[:3].numel() * query.shape[2] <= _KEPT_ELEMENTS else None
        rows = []
        for block, seen in _row_blocks(call):
            alpha, scores = seen.weights(block)
            rows.append(_per_kv_head(alpha.detach().to(value.dtype), seen.value))
            if ctx.kept is not None:
                ctx.kept.append((alpha, scores))
        output = torch.cat(rows, dim=3).flatten(1, 2)
        ctx.save_for_backward(query, key, value, mask)
        ctx.scaling, ctx.softcap = scaling, softcap
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """dq, dk, dv of the derivative at the output [B, H, T, d], own position alone."""
        query, key, value, mask = ctx.saved_tensors
        call = AttentionCall(query, key, value, mask, ctx.scaling, ctx.softcap)
        q, g = (grouped(x, key.shape[1]) for x in (query, gradients[0]))
        dq, dk, dv = torch.zeros_like(q), torch.zeros_like(key), torch.zeros_like(value)
        for number, (block, seen) in enumerate(_row_blocks(call)):
            alpha, scores = seen.weights(block) if ctx.kept is None else ctx.kept[number]
            e = seen.at_scores(alpha, scores, g[:, :, :, block])
            dq[:, :, :, block] = _per_kv_head(e.to(q.dtype), seen.key) * ctx.scaling
            own_e, own_alpha = (
                x.diagonal(block.start, dim1=-2, dim2=-1)[..., None].to(q.dtype) for x in (e, alpha.detach())
            )
            dk[:, :, block] = (own_e * q[:, :, :, block]).sum(2) * ctx.scaling
            dv[:, :, block] = (own_alpha * g[:, :, :, block]).sum(2)
        return dq.flatten(1, 2), dk, dv, None, None, None


_Calls = dict[nn.Module, tuple[AttentionCall, Tensor]]
_calls: ContextVar[_Calls | None] = ContextVar("corrpo_attention_calls", default=None)


@contextmanager
def recorded_calls() -> Iterator[_Calls]:
    """Collect what every attention module was given, and gave [B, H, T, d], while `BACKEND` is in place."""
    calls: _Calls = {}
    token = _calls.set(calls)
    try:
        yield calls
    finally:
        _calls.reset(token)


def own_position_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """An attention function of transformers' AttentionInterface (no cache, eval mode, padding on the right).

    Raises:
        UnsupportedModelError: the model passes something that changes its attention and is not known here
            (attention sinks, position biases, ...).
    """
    foreign = sorted(name for name, value in kwargs.items() if value is not None and name not in _HARMLESS)
    if foreign or not getattr(module, "is_causal", True):
        what = ", ".join(foreign) or "attention that is not causal"
        raise UnsupportedModelError(
            f"{type(module).__name__} uses {what}, which the estimators 'own' and 'last' do not model; "
            "use 'exact' or 'reference'"
        )
    if query.shape[2] > 1 and (attention_mask is None or attention_mask.shape[1] != 1):
        raise UnsupportedModelError(
            f"{type(module).__name__} does not mask its attention through transformers' masking functions, "
            "which the estimators 'own' and 'last' need; use 'exact' or 'reference'"
        )
    scaling = float(query.shape[-1] ** -0.5 if scaling is None else scaling)
    output: Tensor = OwnPositionAttention.apply(query, key, value, attention_mask, scaling, softcap)  # pyright: ignore
    calls = _calls.get()
    if calls is not None:
        calls[module] = AttentionCall(query, key, value, attention_mask, scaling, softcap), output
    return output.transpose(1, 2), None


AttentionInterface.register(BACKEND, own_position_attention)
AttentionMaskInterface.register(BACKEND, eager_mask)
