"""`own` over a batch of sequences padded on the right, with the entropies of the targets: what training uses.

One forward and one backward serve all targets of all sequences, and the same forward gives their token
entropies. Causal attention keeps the padding on the right from reaching any token, so no mask is needed. The
head is the largest matrix of many models, and only one column of it per target is differentiated: logits of
the whole vocabulary are made a few rows at a time, without a graph, for the entropies alone.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from corrpo.errors import NonFiniteError
from corrpo.strength.attention.own_position_backward import BACKEND
from corrpo.strength.attention.replacement import replaced_attention
from corrpo.strength.derivatives.model_state import frozen_eval_mode
from corrpo.strength.derivatives.observation import derivatives_at, observed
from corrpo.strength.derivatives.position_check import mixes_positions
from corrpo.strength.derivatives.scores import picked_logits
from corrpo.strength.derivatives.user_hooks import hooks_of_output, user_hooks
from corrpo.strength.entropy import token_entropy
from corrpo.strength.norms.norm import rank_one_length
from corrpo.strength.projections.projection import MixerLayer

HEAD_ROWS = 128
"""Targets whose logits over the whole vocabulary are held at a time: the head is read once for so many."""


def batched_own(
    model: nn.Module,
    input_ids: Int[Tensor, "rows length"],
    targets: Bool[Tensor, "rows length"],
    layers: Sequence[MixerLayer],
    projections: Sequence[str],
    *,
    direct_head: bool = False,
) -> tuple[Float[Tensor, " targets"], Float[Tensor, "targets layers projections"]]:
    """Entropies (bits) and own-position nuclear norms of every target, an approximation like `own`.

    A model in which something besides attention mixes positions is recognised by positions that predict no
    target; where every position predicts one (prompts of one token), it is not.

    Args:
        model: a causal LM; mode, requires_grad, hooks and attention backend are restored after.
        input_ids: sequences that begin at column 0, with any token as padding on the right.
        targets: the tokens measured, never in column 0 and never padding.
        layers: the attention layers measured.
        projections: of "q", "k", "v", "o".
        direct_head: what `has_direct_head(model)` gave; False is right for every model and slower.

    Returns:
        float32 or better [n] and float64 [n, layers, projections], targets in row-major order.

    Raises:
        UnsupportedModelError: something besides attention mixes positions, or attention cannot be replaced.
        NonFiniteError: an entropy or a norm is NaN or infinite; its `row` is the sequence's number.
    """
    predicting = targets[:, 1:]
    first = int(predicting.any(0).nonzero()[0])
    kept = predicting.shape[1] - first
    head = _Head(predicting[:, first:], input_ids[targets])
    with (
        frozen_eval_mode(model),
        replaced_attention(model, BACKEND, "own", "'exact' or 'reference'"),
        observed(layers, projections) as record,
        head.in_place_of(model, direct_head),
    ):
        logits = model(input_ids=input_ids[:, :-1], use_cache=False, logits_to_keep=kept).logits
        scores, entropy = head.read(logits)
        deltas = derivatives_at(record, scores)
    norms = [
        rank_one_length(delta, at.inputs.detach())[predicting.to(delta.device)]
        for at, delta in zip(record, deltas, strict=True)
    ]
    result = torch.stack([norm.to(entropy.device) for norm in norms], dim=-1)
    _check_finite(entropy, result, targets)
    _check_positionwise(model, deltas, predicting)
    return entropy, result.unflatten(-1, (len(layers), len(projections)))


@dataclass
class _Head:
    """The language-model head of one pass: target logits with a graph, and entropies without one.

    Attributes:
        mask: bool [rows, columns], where a target is predicted among the columns kept.
        tokens: LongTensor [targets], their ids, row-major.
        entropies: filled by the forward pass where the head is replaced.
    """

    mask: Tensor
    tokens: Tensor
    entropies: Tensor | None = field(default=None)

    @contextmanager
    def in_place_of(self, model: nn.Module, direct: bool) -> Iterator[None]:
        """Replace the forward of the model's linear head, if its outputs are the logits themselves."""
        head = model.get_output_embeddings() if direct else None  # pyright: ignore
        if head is None:
            yield
            return
        head.forward = lambda hidden: self._picked(head, hidden)  # pyright: ignore
        try:
            yield
        finally:
            del head.forward

    def _picked(self, head: nn.Linear, hidden: Tensor) -> Tensor:
        """The logit of each target alone, [1, targets, 1]; notes the entropies on the way."""
        chosen = hidden[self.mask.to(hidden.device)]
        with torch.no_grad():
            parts = [token_entropy(nn.Linear.forward(head, rows)) for rows in chosen.split(HEAD_ROWS)]
        self.entropies = torch.cat(parts)
        return picked_logits(head, chosen, self.tokens)[None]

    def read(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Target logits [targets] with their graph, and entropies [targets]."""
        if self.entropies is not None:
            return logits[0, :, 0], self.entropies
        rows = logits[self.mask.to(logits.device)]
        scores = rows.gather(-1, self.tokens.to(rows.device)[:, None])[:, 0]
        return scores, token_entropy(rows.detach())


def has_direct_head(model: nn.Module) -> bool:
    """Whether the outputs of a plain linear head are the logits, with no capping or scaling after it.

    Known from a forward pass of two tokens: LoRA or a quantized head, a head that something else has
    replaced, a user's hook on it or around it, and logits that the model changes afterwards all give False.
    """
    with frozen_eval_mode(model), torch.no_grad():
        head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None  # pyright: ignore
        if (
            type(head) is not nn.Linear
            or "forward" in head.__dict__
            or hooks_of_output(user_hooks(model), head)
        ):
            return False
        given: list[Any] = []
        handle = head.register_forward_hook(lambda _module, _args, output: given.append(output))
        try:
            ids = torch.zeros(1, 2, dtype=torch.long, device=next(model.parameters()).device)
            logits = model(input_ids=ids, use_cache=False).logits
        finally:
            handle.remove()
    return len(given) == 1 and torch.equal(given[0].to(logits), logits)


def _check_positionwise(model: nn.Module, deltas: Sequence[Tensor], predicting: Tensor) -> None:
    """Refuse a model in which a target's derivative is not at its own position alone.

    Positions that predict no target, of which a prompt has many, must have none.
    """
    if any(delta[~predicting.to(delta.device)].any() for delta in deltas):
        raise mixes_positions(model, "own")


def _check_finite(entropy: Tensor, norms: Tensor, targets: Tensor) -> None:
    bad = ~torch.isfinite(entropy) | ~torch.isfinite(norms).all(-1)
    if bad.any():
        row, position = targets.nonzero()[bad.nonzero()[0, 0].to(targets.device)].tolist()
        error = NonFiniteError(
            f"the entropy or a gradient norm of the token at position {position} of sequence {row} is NaN or "
            "infinite; check the weights, and try a wider dtype (float32)"
        )
        error.row = row
        raise error
