"""`logit_gradient_norms`: the one function in front of the estimators, and its checks."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from corrpo.errors import BadInputError, NonFiniteError
from corrpo.models.loading import check_present
from corrpo.models.peft_adapters import check_adapters
from corrpo.models.token_limits import vocabulary_size
from corrpo.strength.backward.query import Query, left_as_found
from corrpo.strength.estimators.exact import exact
from corrpo.strength.estimators.fit import check_fit
from corrpo.strength.estimators.last import last
from corrpo.strength.estimators.own import own
from corrpo.strength.estimators.reference import reference
from corrpo.strength.projections import PROJECTIONS
from corrpo.strength.projections.layer import MixerLayer
from corrpo.strength.projections.mixers import find_layers, select_layers
from corrpo.strength.spec import GradientSpec

_FUNCTIONS: dict[str, Callable[[Query], Tensor]] = {
    "reference": reference,
    "exact": exact,
    "last": last,
    "own": own,
}


def logit_gradient_norms(
    model: nn.Module,
    input_ids: Int[Tensor, " length"],
    positions: Int[Tensor, " targets"] | Sequence[int],
    *,
    estimator: str = "exact",
    norm: str = "nuclear",
    target: str = "logit",
    projections: Sequence[str] = PROJECTIONS,
    layers: Sequence[int] | None = None,
    attention_mask: Int[Tensor, " length"] | None = None,
    tolerance: float | None = None,
) -> Float[Tensor, "targets layers projections"]:
    """Norms of d z_t / d W_X,l for tokens t of one sequence, layers l and projections X.

    z_t is the logit (or log-probability) of the token at position t, predicted at t - 1; METHOD 1.

    Args:
        model: a transformers causal LM. It is put in eval mode for the call, no weight's `.grad` is
            touched, and mode, requires_grad, hooks and attention backend are left as they were.
        input_ids: one sequence, prompt and response.
        positions: indices p >= 1 into `input_ids` of the tokens whose logit is differentiated, in any
            order.
        estimator: "exact"; "reference", the slow judge; "last", exact in the last attention layer;
            "own", an approximation in all layers. METHOD 3.
        norm: "nuclear", "frobenius", "spectral" or "l1".
        target: "logit" or "logprob".
        projections: names, in the order of the result: of "q", "k", "v", "o" for attention, and those that
            `corrpo measure MODEL --list-projections` shows for other mixers.
        layers: indices among the layers that hold these projections, negative from the end, in the order of
            the result; all for None. With "last", the last layer alone.
        attention_mask: 1 for a token and 0 for padding, on either side; padding is taken away before the
            sequence is read, and `positions` still index the padded sequence.
        tolerance: largest relative error allowed of a nuclear norm, enforced by a bound; None for rounding
            alone. With "exact" and "last"; it saves time from some 200 tokens on.

    Returns:
        [targets, layers, projections] on the model's device: float64 for a float64 model, float32 for
        all others.

    Raises:
        BadInputError: an argument out of its range; the message says which and what is expected.
        UnsupportedModelError: the estimator does not fit the model, and the message names those that do; or
            weights are offloaded to the CPU or the disk.
        NonFiniteError: a logit or a norm is NaN or infinite.
    """
    GradientSpec(estimator, norm, tolerance, target, projections)  # pyright: ignore[reportArgumentType]
    check_present(model)
    chosen = layers_for(model, estimator, layers, projections)
    ids, wanted = _without_padding(input_ids, _whole(positions), attention_mask)
    _check_vocabulary(model, ids)
    distinct, order = torch.unique(wanted, sorted=True, return_inverse=True)
    device = next(model.parameters()).device
    with left_as_found(model):
        query = Query(
            model,
            ids[None].to(device).clone(),
            distinct.to(device).clone(),
            chosen,
            tuple(projections),
            norm,
            target,
            tolerance,
        )
        result = _FUNCTIONS[estimator](query) if len(wanted) else query.empty_result()
        result = result[order.to(device)]
    if not torch.isfinite(result).all():
        bad = int((~torch.isfinite(result)).flatten(1).any(1).nonzero()[0])
        raise NonFiniteError(
            f"the {norm} norm of the gradient at position {int(wanted[bad])} is NaN or infinite; "
            "try a wider dtype (float32)"
        )
    wide = next(model.parameters()).dtype == torch.float64
    return result if wide else result.float()


def layers_for(
    model: nn.Module, estimator: str, layers: Sequence[int] | None, projections: Sequence[str] = PROJECTIONS
) -> list[MixerLayer]:
    """The layers that an estimator measures.

    Raises:
        BadInputError: an index outside the model, or a layer that the estimator does not cover.
        UnsupportedModelError: see `find_layers`, `check_adapters` and `check_fit`.
    """
    check_adapters(model)
    found = find_layers(model, projections)
    if estimator != "last":
        chosen = select_layers(found, layers)
        check_fit(model, chosen, projections, estimator)
        return chosen
    check_fit(model, found[-1:], projections, estimator)
    if layers is not None and select_layers(found, layers) != found[-1:]:
        raise BadInputError(
            f"layers={list(layers)}: estimator 'last' covers the last attention layer alone "
            f"({len(found) - 1}); use 'exact', 'own' or 'reference' for others"
        )
    return found[-1:]


def _whole(positions: Tensor | Sequence[int]) -> Tensor:
    tensor = torch.as_tensor(positions)
    if tensor.numel() and (tensor.is_floating_point() or tensor.dim() != 1):
        raise BadInputError(
            f"positions={positions!r}: expected a list of whole numbers, LongTensor [targets]"
        )
    return tensor.long()


def _check_vocabulary(model: nn.Module, ids: Tensor) -> None:
    size = vocabulary_size(model)
    if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < size:
        raise BadInputError(f"input_ids holds token {int(ids.max())}; the model knows 0 to {size - 1}")


def _without_padding(
    input_ids: Tensor, positions: Tensor, attention_mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The sequence without padding and the positions in it; checks both."""
    if input_ids.dim() != 1 or input_ids.is_floating_point():
        raise BadInputError(
            f"input_ids has shape {tuple(input_ids.shape)} and dtype {input_ids.dtype}; expected one "
            "sequence of token ids, LongTensor [length]"
        )
    length = len(input_ids)
    kept = torch.ones_like(input_ids) if attention_mask is None else attention_mask
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
