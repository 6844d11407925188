"""Attention whose backward stays at its own position: what `own` and `last` put in a model's place.

Position t of the output is sum_s alpha_ts v_s. By causality only the term s = t of keys and values
carries a dependence of token t on itself; all other keys and values are constants (METHOD 5). With g_t
the derivative at the output of t, and per head

    e_ts = alpha_ts (g_t . v_s - g_t . out_t)      times the soft-capping's own derivative,

the backward is dq_t = scale sum_s e_ts k_s (whole, as q_t belongs to t), dk_t = scale e_tt q_t and
dv_t = alpha_tt g_t. Rows of queries are taken a block at a time, so that memory grows with the length and
not with its square.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from corrpo.errors import UnsupportedModelError

BACKEND = "corrpo_own_position"
_BLOCK_ELEMENTS = 1 << 24
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
    """What one attention layer was given: queries [1, H, T, d], keys and values [1, H_kv, T, d], and how.

    `mask` is additive, [1, 1, T, T].
    """

    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    scaling: float
    softcap: float | None

    def weights(self, rows: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Attention weights alpha of some query rows, and d(score)/d(q.k scale) from soft-capping.

        Returns:
            Two tensors [H_kv, H / H_kv, rows, T] in float32 or better; the second is 1 without soft-capping.
        """
        groups = self.query.shape[1] // self.key.shape[1]
        query = self.query[0].unflatten(0, (-1, groups))[:, :, rows]
        dtype = torch.promote_types(query.dtype, torch.float32)
        scores = torch.matmul(query, self.key[0, :, None].mT).to(dtype) * self.scaling
        slope = torch.ones((), dtype=dtype, device=scores.device)
        if self.softcap is not None:
            capped = torch.tanh(scores / self.softcap)
            scores, slope = capped * self.softcap, 1 - capped * capped
        if self.mask is not None:
            scores = scores + self.mask[0, :, rows, : self.key.shape[2]].to(dtype)
        return torch.softmax(scores, dim=-1), slope


def _row_blocks(call: AttentionCall) -> Iterator[slice]:
    heads, length = call.query.shape[1], call.query.shape[2]
    step = max(1, _BLOCK_ELEMENTS // max(1, heads * length))
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


class OwnPositionAttention(torch.autograd.Function):
    """softmax(q k^T scale) v, with a backward that keeps each position's own part alone."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask, scaling, softcap) -> Tensor:
        """Attention output [1, H, T, d]."""
        call = AttentionCall(query, key, value, mask, scaling, softcap)
        rows = [
            torch.matmul(call.weights(b)[0].to(value.dtype), value[0, :, None]) for b in _row_blocks(call)
        ]
        output = torch.cat(rows, dim=2).flatten(0, 1)[None]
        ctx.save_for_backward(query, key, value, mask, output)
        ctx.scaling, ctx.softcap = scaling, softcap
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """dq, dk, dv of the derivative at the output [1, H, T, d], own position alone."""
        query, key, value, mask, output = ctx.saved_tensors
        call = AttentionCall(query, key, value, mask, ctx.scaling, ctx.softcap)
        grouped = (key.shape[1], -1)
        q, g, out = (x[0].unflatten(0, grouped) for x in (query, gradients[0], output))
        dq, dk, dv = torch.zeros_like(q), torch.zeros_like(key[0]), torch.zeros_like(value[0])
        for block in _row_blocks(call):
            alpha, slope = call.weights(block)
            shared = (g[:, :, block] * out[:, :, block]).sum(-1, keepdim=True)
            e = alpha * (torch.matmul(g[:, :, block], value[0, :, None].mT) - shared) * slope * ctx.scaling
            dq[:, :, block] = torch.matmul(e.to(q.dtype), key[0, :, None])
            own = torch.arange(block.start, block.stop, device=q.device)
            index = own[None, None, :, None].expand(*e.shape[:2], -1, 1)
            dk[:, block] = (e.gather(-1, index) * q[:, :, block]).sum(1).to(dk.dtype)
            dv[:, block] = (alpha.gather(-1, index) * g[:, :, block]).sum(1).to(dv.dtype)
        return dq.flatten(0, 1)[None], dk[None], dv[None], None, None, None


_Calls = dict[nn.Module, tuple[AttentionCall, Tensor]]
_calls: ContextVar[_Calls | None] = ContextVar("corrpo_attention_calls", default=None)


@contextmanager
def recorded_calls() -> Iterator[_Calls]:
    """Collect what every attention module was given, and gave [1, H, T, d], while `BACKEND` is in place."""
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
    """An attention function of transformers' AttentionInterface (one sequence, no cache, eval mode).

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
