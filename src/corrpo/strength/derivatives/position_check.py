"""The check of `own` and `last` that attention alone mixes the positions of a model."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from corrpo.errors import UnsupportedModelError
from corrpo.strength.derivatives.observation import derivatives_of
from corrpo.strength.derivatives.request import GradientRequest
from corrpo.strength.derivatives.user_hooks import naming, user_hooks

_TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-2}
_HALF_TOLERANCE = 0.25


def check_positionwise(
    request: GradientRequest,
    scores: Tensor,
    wanted: Sequence[Tensor],
    derivatives: Sequence[Tensor],
    name: str,
) -> None:
    """Refuse a model in which a target's derivative is not at its own position alone.

    Looks at the positions that predict no target; if every position predicts one, or a user's hook may treat
    the sum of the targets otherwise than each of them, differentiates one target by itself too.

    Args:
        request: the model and the targets.
        scores: [n], their graph kept.
        wanted: tensors of T positions each.
        derivatives: of the sum of the scores at `wanted`, in their shapes.
        name: of the estimator.
    """
    length = request.prefix(int(request.positions[-1]))
    for tensor in derivatives:
        check_other_positions(request, request.rows, _by_position(tensor, length), name)
    if request.hooks or 1 < len(request.rows) == length:
        middle = len(request.rows) // 2
        row = request.rows[middle : middle + 1]
        for together, alone in zip(
            derivatives, derivatives_of(scores[middle], wanted, keep=True), strict=True
        ):
            one = _by_position(alone, length)
            check_other_positions(request, row, one, name)
            at = row.to(one.device)
            joint = _by_position(together, length)[at]
            tolerance = _TOLERANCES.get(one.dtype, _HALF_TOLERANCE)
            if (joint - one[at]).abs().amax() > tolerance * one[at].abs().amax():
                raise mixes_positions(request.model, name)


def check_other_positions(request: GradientRequest, rows: Tensor, delta: Tensor, name: str) -> None:
    """Refuse a model whose derivative `delta` [T, d] is not zero beside `rows`: `check_positionwise`."""
    others = torch.ones(len(delta), dtype=torch.bool, device=delta.device)
    others[rows.to(delta.device)] = False
    if delta[others].any():
        raise mixes_positions(request.model, name)


def mixes_positions(model: nn.Module, name: str) -> UnsupportedModelError:
    """The refusal of a model that estimator `name` cannot measure."""
    return UnsupportedModelError(
        f"estimator {name!r} needs a model in which attention alone mixes positions, and something else "
        f"in {type(model).__name__} does too{naming(user_hooks(model))}; use 'exact' or 'reference'"
    )


def _by_position(tensor: Tensor, length: int) -> Tensor:
    """[T, d] of [1, H, T, d] or [1, T, d], or with further axes of one in the middle."""
    rows = tensor.flatten(0, -2)
    return rows if len(rows) == length else tensor.movedim(-2, 0).flatten(1)
