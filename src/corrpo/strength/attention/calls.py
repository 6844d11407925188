"""One call of a model's attention, as transformers' AttentionInterface hands it over, a block at a time.

Estimators put an attention function of their own in a model's place (`replacement.replaced_attention`). What
such a function is given is an `AttentionCall`; its mask is a rule that makes the rows that are asked for, so
that no tensor grows with the square of the length.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import causal_mask_function, sdpa_mask

from corrpo.errors import UnsupportedModelError

BLOCK_ELEMENTS = 1 << 24
_LEAST_ROWS = 32
_KEPT_MASK_ELEMENTS = 1 << 22
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


class RowMask:
    """Which keys each query sees: a rule of transformers' masking functions in place of a [T, T] tensor."""

    def __init__(self, rule: Callable, offsets: tuple[int, int], shape: tuple[int, int, int], device: Any):
        self._rule = rule
        self._offsets = offsets
        self._shape = shape
        self._device = device
        small = shape[1] * shape[2] <= _KEPT_MASK_ELEMENTS
        self._all = self._made(slice(None), shape[2]) if small else None

    def rows(self, rows: slice | Tensor, keys: int, device: torch.device) -> Tensor:
        """Bool [B, 1, rows, keys], True where a query of `rows` sees one of the first `keys` keys."""
        if isinstance(rows, Tensor):
            rows = rows.to(self._device)
        made = self._made(rows, keys) if self._all is None else self._all[:, :, rows, :keys]
        return made.to(device)

    def pairs(self, rows: Tensor, keys: Tensor) -> Tensor:
        """Bool [n, rows, keys] of the first sequence, for rows [n, rows] and keys [n, keys]."""
        device = rows.device
        queries, seen = rows.to(self._device)[:, :, None], keys.to(self._device)[:, None]
        if self._all is not None:
            return self._all[0, 0, queries, seen].to(device)
        first = queries.new_zeros(1, 1, 1)
        return self._rule(first, first, queries + self._offsets[0], seen + self._offsets[1]).to(device)

    def to(self, *_: Any, **__: Any) -> "RowMask":
        """Itself, as `rows` are made for any device; accelerate's hooks move what a module is given."""
        return self

    def _made(self, rows: slice | Tensor, keys: int) -> Tensor:
        batch, queries, _ = self._shape
        chosen = torch.arange(queries, device=self._device)[rows] + self._offsets[0]
        seen = torch.arange(keys, device=self._device) + self._offsets[1]
        first = torch.arange(batch, device=self._device)[:, None, None, None]
        made = self._rule(first, torch.zeros_like(first), chosen[None, None, :, None], seen[None, None, None])
        return made.expand(batch, 1, len(chosen), keys)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what others ask of any object, as FSDP2 does
            raise AttributeError(name)
        raise UnsupportedModelError(
            f"the model reads .{name} of its attention mask; use 'exact' or 'reference'"
        )

    def __getitem__(self, key: Any) -> Any:
        raise UnsupportedModelError("the model cuts its attention mask itself; use 'exact' or 'reference'")


def row_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int = 0,
    kv_offset: int = 0,
    mask_function: Callable = causal_mask_function,
    attention_mask: Tensor | None = None,
    use_vmap: bool = False,
    device: Any = "cpu",
    **_: Any,
) -> "RowMask | Tensor":
    """A mask function of transformers' AttentionMaskInterface: a `RowMask`, or bool [B, 1, T, T].

    The tensor is for rules that only transformers can evaluate: overlays of the model's own, and padding.
    """
    if use_vmap or attention_mask is not None:
        mask = sdpa_mask(
            batch_size,
            q_length,
            kv_length,
            q_offset=q_offset,
            kv_offset=kv_offset,
            mask_function=mask_function,
            attention_mask=attention_mask,
            allow_is_causal_skip=False,
            use_vmap=use_vmap,
            device=device,
        )
        assert mask is not None
        return mask
    return RowMask(mask_function, (q_offset, kv_offset), (batch_size, q_length, kv_length), device)


@dataclass(frozen=True)
class AttentionCall:
    """What one attention layer was given: queries [B, H, T, d], keys and values [B, H_kv, T, d], and how."""

    query: Tensor
    key: Tensor
    value: Tensor
    mask: RowMask | Tensor | None
    scaling: float
    softcap: float | None

    def until(self, stop: int) -> "AttentionCall":
        """The same call with the keys and values of the first `stop` positions alone."""
        return replace(self, key=self.key[:, :, :stop], value=self.value[:, :, :stop])

    def scores(self, rows: Tensor | slice) -> Tensor:
        """Scaled q.k of some query rows, [B, H_kv, H / H_kv, rows, keys] in float32 or better."""
        query = grouped(self.query * self.scaling, self.key.shape[1])[:, :, :, rows]
        scores = per_kv_head(query, self.key.mT)
        return scores.to(torch.promote_types(scores.dtype, torch.float32))

    def attend(self, scores: Tensor, rows: Tensor | slice) -> Tensor:
        """Attention weights alpha of `scores(rows)`: soft-capped, masked, softmaxed."""
        return torch.softmax(self.exponents(scores, rows), dim=-1)

    def exponents(self, scores: Tensor, rows: Tensor | slice) -> Tensor:
        """What the softmax is taken of: `scores(rows)`, soft-capped and masked."""
        if self.softcap is not None:
            scores = torch.tanh(scores / self.softcap) * self.softcap
        seen = self._seen(rows)
        if seen is not None:
            scores = scores.masked_fill(~seen[:, :, None], torch.finfo(scores.dtype).min)
        return scores

    def seen_pairs(self, rows: Tensor, keys: Tensor) -> Tensor | None:
        """Bool [n, rows, keys]: which of keys [n, keys] each of rows [n, rows] sees, of one sequence."""
        if self.mask is None:
            return None
        if isinstance(self.mask, RowMask):
            return self.mask.pairs(rows, keys)
        return self.mask[0, 0, rows[:, :, None], keys[:, None]]

    def _seen(self, rows: Tensor | slice) -> Tensor | None:
        keys = self.key.shape[2]
        if self.mask is None:
            return None
        if isinstance(self.mask, RowMask):
            return self.mask.rows(rows, keys, self.key.device)
        return self.mask[:, :, rows, :keys]

    def weights(self, rows: slice | Tensor) -> tuple[Tensor, Tensor]:
        """Attention weights alpha of some rows, and alpha times the soft-capping's own derivative."""
        scores = self.scores(rows)
        alpha = self.attend(scores, rows)
        if self.softcap is None:
            return alpha, alpha
        return alpha, alpha * (1 - torch.tanh(scores / self.softcap) ** 2)

    def at_scores(self, alpha: Tensor, factor: Tensor, g: Tensor, output: Tensor) -> Tensor:
        """The derivative e_ts = factor_ts (g_t . v_s - g_t . out_t) at the scores of some rows.

        Args:
            alpha, factor: of `weights(rows)`.
            g: [B, H_kv, H / H_kv, rows, d], the derivative at these rows of the output.
            output: likewise, the output.
        """
        return less_output(per_kv_head(g, self.value.mT), alpha, g, output).mul_(factor)

    def row_blocks(self, copies: int = 1) -> Iterator[tuple[slice, "AttentionCall"]]:
        """Blocks of query rows, and the call with the keys that they can see.

        A block has at most `BLOCK_ELEMENTS` weights, `copies` times over. Four blocks or more spare most of
        the half of q.k that causality hides.
        """
        batch, heads, length = self.query.shape[:3]
        fitting = BLOCK_ELEMENTS // max(1, copies * batch * heads * length)
        step = max(1, min(fitting, max(_LEAST_ROWS, -(-length // 4))))
        for start in range(0, length, step):
            stop = min(start + step, length)
            yield slice(start, stop), self.until(stop)


def less_output(at_values: Tensor, alpha: Tensor, g: Tensor, output: Tensor) -> Tensor:
    """g_t . v_s - g_t . out_t from g_t . v_s, in the dtype of alpha.

    The second term is the mean of the first under alpha. In half precision it is taken so, as the difference
    of two rounded products would be all rounding where a token attends to one key alone.
    """
    if at_values.dtype == alpha.dtype:
        return at_values.sub_((g * output).sum(-1, keepdim=True))
    at_values = at_values.to(alpha.dtype)
    return at_values.sub_((alpha * at_values).sum(-1, keepdim=True))


def grouped(tensor: Tensor, kv_heads: int) -> Tensor:
    """[B, H, T, d] as [B, H_kv, H / H_kv, T, d]: the heads that share a key-value head together."""
    return tensor.unflatten(1, (kv_heads, -1))


def per_kv_head(rows: Tensor, matrix: Tensor) -> Tensor:
    """[B, H_kv, groups, rows, x] times [B, H_kv, x, y], as one product per key-value head."""
    return torch.matmul(rows.flatten(2, 3), matrix).unflatten(2, rows.shape[2:4])


@dataclass(frozen=True)
class RecordedCall:
    """A call and its output [B, H, T, d]."""

    call: AttentionCall
    output: Tensor


_calls: ContextVar[tuple[list[RecordedCall], nn.Module | None] | None]
_calls = ContextVar("corrpo_attention_calls", default=None)


@contextmanager
def recorded_calls(of: nn.Module | None = None) -> Iterator[list[RecordedCall]]:
    """Collect what attention was given and gave, while one of our backends is in place.

    Args:
        of: the attention module to listen to; every one if not given.
    """
    calls: list[RecordedCall] = []
    token = _calls.set((calls, of))
    try:
        yield calls
    finally:
        _calls.reset(token)


def register_attention(name: str, attend: Callable[[AttentionCall], Tensor]) -> None:
    """Make `attend`, from a call to its output [B, H, T, d], an attention function of transformers.

    For eval mode, with padding on the right. A call whose output has a graph goes to the innermost
    `recorded_calls`. The function raises `UnsupportedModelError` as `_understood_call` does.
    """

    def attention(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Any,
        scaling: float | None = None,
        dropout: float = 0.0,
        softcap: float | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, None]:
        call = _understood_call(module, query, key, value, attention_mask, scaling, softcap, kwargs)
        output = attend(call)
        listening = _calls.get()
        if output.requires_grad and listening is not None and listening[1] in (None, module):
            listening[0].append(RecordedCall(call, output))
        return output.transpose(1, 2), None

    AttentionInterface.register(name, attention)
    AttentionMaskInterface.register(name, row_mask)


def _understood_call(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: RowMask | Tensor | None,
    scaling: float | None,
    softcap: float | None,
    others: dict[str, Any],
) -> AttentionCall:
    """The call behind the arguments of an attention function.

    Raises:
        UnsupportedModelError: the model passes something that changes its attention and is not known here
            (attention sinks, position biases, ...).
    """
    foreign = sorted(name for name, value in others.items() if value is not None and name not in _HARMLESS)
    if foreign or not getattr(module, "is_causal", True):
        what = ", ".join(foreign) or "attention that is not causal"
        raise UnsupportedModelError(
            f"{type(module).__name__} uses {what}, which 'pruned', 'last' and 'own' do not model; "
            "use 'exact' or 'reference'"
        )
    masked = isinstance(mask, RowMask) or (isinstance(mask, Tensor) and mask.dtype == torch.bool)
    if query.shape[2] > 1 and not masked:
        raise UnsupportedModelError(
            f"{type(module).__name__} does not mask its attention through transformers' masking functions, "
            "which 'pruned', 'last' and 'own' need; use 'exact' or 'reference'"
        )
    scaling = float(query.shape[-1] ** -0.5 if scaling is None else scaling)
    return AttentionCall(query, key, value, mask, scaling, softcap)
