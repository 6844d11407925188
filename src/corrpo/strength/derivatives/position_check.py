"""The check of `own` and `last` that attention alone mixes the positions of a model."""

import torch
from torch import Tensor, nn

from corrpo.errors import UnsupportedModelError
from corrpo.strength.derivatives.observation import Observed
from corrpo.strength.derivatives.request import GradientRequest


def check_positionwise(
    request: GradientRequest, scores: Tensor, at: Observed, delta: Tensor, name: str
) -> None:
    """Refuse a model in which a target's derivative at a projection is not at its own position alone.

    Looks at the positions that predict no target; if every position predicts one, differentiates one target
    by itself. `delta` [1, T, d_out] is the derivative of the sum of scores [n], whose graph is kept, at `at`.
    """
    rows = request.rows.to(delta.device)
    if len(rows) == delta.shape[1] and len(rows) > 1:
        rows = rows[len(rows) // 2 :][:1]
        (derivative,) = torch.autograd.grad(scores[len(request.rows) // 2], at.output, retain_graph=True)
        delta = at.part(derivative)
    check_other_positions(request.model, rows, delta, name)


def check_other_positions(model: nn.Module, rows: Tensor, delta: Tensor, name: str) -> None:
    """Refuse a model whose derivative `delta` [1, T, d] is not zero beside `rows`: `check_positionwise`."""
    others = torch.ones(delta.shape[1], dtype=torch.bool, device=delta.device)
    others[rows] = False
    if delta[0, others].any():
        raise mixes_positions(model, name)


def mixes_positions(model: nn.Module, name: str) -> UnsupportedModelError:
    """The refusal of a model that estimator `name` cannot measure."""
    return UnsupportedModelError(
        f"estimator {name!r} needs a model in which attention alone mixes positions, and something else "
        f"in {type(model).__name__} does too; use 'exact' or 'reference'"
    )
