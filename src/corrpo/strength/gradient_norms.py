"""`logit_gradient_norms`: the one function in front of the estimators, and its checks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from corrpo.errors import BadInputError, NonFiniteError
from corrpo.models.keywords import keywords_of, narrow
from corrpo.models.loading import check_present
from corrpo.models.peft_adapters import check_adapters
from corrpo.models.token_limits import vocabulary_size
from corrpo.models.turns import model_turn
from corrpo.strength.derivatives.model_state import frozen_eval_mode
from corrpo.strength.derivatives.request import GradientRequest
from corrpo.strength.estimators import ESTIMATORS, estimator_named
from corrpo.strength.estimators.fit import check_fit
from corrpo.strength.estimators.passes import Pass
from corrpo.strength.projections import PROJECTIONS
from corrpo.strength.projections.mixers import find_layers, select_layers
from corrpo.strength.projections.projection import MixerLayer
from corrpo.strength.spec import GradientSpec


@dataclass(frozen=True, kw_only=True)
class SequenceOptions(GradientSpec):
    """The gradients measured of one sequence, and which of its tokens are padding."""

    attention_mask: Tensor | None = None
    """1 for a token and 0 for padding, on either side, in the shape of input_ids; padding is taken away
    before the sequence is read, and positions still index the padded sequence."""


@keywords_of(SequenceOptions)
def logit_gradient_norms(
    model: nn.Module,
    input_ids: Int[Tensor, "*one length"],
    positions: Int[Tensor, " targets"] | Sequence[int],
    options: SequenceOptions,
) -> Float[Tensor, "targets layers projections"]:
    """Norms of d z_t / d W_X,l for tokens t of one sequence, layers l and projections X.

    z_t is the logit (or log-probability) of the token at position t, predicted at t - 1; METHOD 1.

    Args:
        model: a transformers causal LM. It is put in eval mode for the call, no weight's `.grad` is
            touched, and mode, requires_grad, hooks and attention backend are left as they were. Forward
            and backward hooks of yours are part of it: the gradient is that of the model with them. Inside
            `torch.autocast` it computes as it does there.
        input_ids: one sequence, prompt and response, [length] or [1, length].
        positions: indices p >= 1 into the sequence of the tokens whose logit is differentiated, in any
            order.
        options: given as the keywords below. Layers are numbered among those that hold the projections, and
            the result has layers and projections in the order in which they are named.

    Returns:
        [targets, layers, projections] on the model's device: float64 for a float64 model, float32 for
        all others.

    Raises:
        BadInputError: an argument out of its range; the message says which and what is expected.
        UnsupportedModelError: the estimator does not fit the model, and the message names those that do; or
            weights are offloaded to the CPU or the disk.
        NonFiniteError: a logit or a norm is NaN or infinite.
    """
    check_present(model)
    spec = narrow(options, GradientSpec)
    with model_turn(model):
        layers = layers_for(model, spec.estimator, spec.layers, spec.projections)
    ids, targets = _without_padding(input_ids, _checked_positions(positions), options.attention_mask)
    _check_vocabulary(model, ids)
    distinct, order = torch.unique(targets, sorted=True, return_inverse=True)
    device = next(model.parameters()).device
    with frozen_eval_mode(model):
        sequence, ascending = ids[None].to(device).clone(), distinct.to(device).clone()
        request = GradientRequest(model, sequence, ascending, layers, spec)
        norms = estimator_named(spec.estimator).norms(request) if len(targets) else request.empty_result()
        result = norms.to(device)[order.to(device)]
    if not torch.isfinite(result).all():
        bad = int((~torch.isfinite(result)).flatten(1).any(1).nonzero()[0])
        raise NonFiniteError(
            f"the {spec.norm} norm of the gradient at position {int(targets[bad])} is NaN or infinite; "
            "try a wider dtype (float32)"
        )
    wide = next(model.parameters()).dtype == torch.float64
    return result if wide else result.float()


def passes_of(model: nn.Module, positions: Sequence[int], length: int, spec: GradientSpec) -> list[Pass]:
    """How an estimator would read and differentiate a sequence: what its cost follows from.

    The model is tried on a few tokens, and left as it was; errors are those of `logit_gradient_norms`.
    """
    if not len(positions):
        return []
    layers = layers_for(model, spec.estimator, spec.layers, spec.projections)
    device = next(model.parameters()).device
    ids = torch.zeros(1, length, dtype=torch.long, device=device)
    with frozen_eval_mode(model):
        request = GradientRequest(model, ids, torch.tensor(positions, device=device), layers, spec)
        return estimator_named(spec.estimator).passes(request)


def layers_for(
    model: nn.Module, estimator: str, layers: Sequence[int] | None, projections: Sequence[str] = PROJECTIONS
) -> list[MixerLayer]:
    """The layers that an estimator measures.

    Raises:
        BadInputError: an index outside the model, or a layer that the estimator does not cover.
        UnsupportedModelError: see `find_layers`, `check_adapters` and `check_fit`.
    """
    check_adapters(model)
    holders = find_layers(model, projections)
    if not estimator_named(estimator).is_last_layer_alone:
        selected = select_layers(holders, layers)
        check_fit(model, selected, projections, estimator)
        return selected
    last = holders[-1:]
    check_fit(model, last, projections, estimator)
    if layers is not None and select_layers(holders, layers) != last:
        *others, final = (repr(name) for name in ESTIMATORS if not estimator_named(name).is_last_layer_alone)
        raise BadInputError(
            f"layers={list(layers)}: estimator {estimator!r} covers the last attention layer alone "
            f"({len(holders) - 1}); use {', '.join(others)} or {final} for others"
        )
    return last


def _checked_positions(positions: Tensor | Sequence[int]) -> Tensor:
    expected = "expected a list of whole numbers, LongTensor [targets]"
    try:
        tensor = torch.as_tensor(positions)
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadInputError(f"positions={positions!r}: {expected}") from error
    is_whole = not tensor.is_floating_point() and tensor.dtype != torch.bool
    if tensor.numel() and (not is_whole or tensor.dim() != 1):
        raise BadInputError(f"positions={positions!r}: {expected}")
    return tensor.long()


def _check_vocabulary(model: nn.Module, ids: Tensor) -> None:
    size = vocabulary_size(model)
    unknown = ids[(ids < 0) | (ids >= size)]
    if len(unknown):
        raise BadInputError(f"input_ids holds token {int(unknown[0])}; the model knows 0 to {size - 1}")


def _without_padding(input_ids: Tensor, positions: Tensor, attention_mask: Any) -> tuple[Tensor, Tensor]:
    """The sequence without padding and the positions in it; checks both."""
    if not isinstance(input_ids, Tensor):
        raise BadInputError(f"input_ids={input_ids!r:.80}: expected a LongTensor [length] or [1, length]")
    if input_ids.is_floating_point() or input_ids.shape[:-1] not in ((), (1,)) or not input_ids.dim():
        raise BadInputError(
            f"input_ids has shape {tuple(input_ids.shape)} and dtype {input_ids.dtype}; expected one "
            "sequence of token ids, LongTensor [length] or [1, length]"
        )
    input_ids = input_ids.flatten()
    length = len(input_ids)
    kept = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    if not isinstance(kept, Tensor):
        raise BadInputError(f"attention_mask={kept!r:.80}: expected a Tensor [length] or [1, length]")
    kept = kept.to(input_ids.device)
    kept = kept[0] if kept.dim() == 2 and len(kept) == 1 else kept
    if kept.shape != input_ids.shape:
        raise BadInputError(
            f"attention_mask has shape {tuple(kept.shape)}, input_ids {tuple(input_ids.shape)}"
        )
    kept = kept.bool()
    if (kept[1:] & ~kept[:-1]).sum() + kept[:1].sum() > 1:
        raise BadInputError("attention_mask has padding between tokens; expected it on the left or the right")
    shifted = kept.long().cumsum(0) - 1
    positions = positions.to(input_ids.device)
    inside = (positions >= 1) & (positions < length)
    if inside.all():
        inside = kept[positions] & (shifted[positions] >= 1)
    if not inside.all():
        bad = int(positions[~inside][0])
        raise BadInputError(
            f"position {bad} cannot be measured in a sequence of {int(kept.sum())} tokens: expected "
            f"positions in [1, {length - 1}] that are not padding and have a token before them"
        )
    return input_ids[kept], shifted[positions]
