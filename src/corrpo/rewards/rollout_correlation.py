"""The rho of every rollout of a batch at once: correlations over the tokens of each row, on its device.

The coefficients, and the rules for when there is none, are those of `corrpo.statistics.coefficients`, which
takes one sequence at a time in numpy; here a whole batch is taken without leaving the device. Ranks come
from a sort and two binary searches per row: O(rollouts x tokens x log tokens) time, a few copies of the
input in memory. Everything is float64, whatever the input: ranks and their sums are exact.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from corrpo.errors import BadInputError, NonFiniteError, check_known
from corrpo.statistics.coefficients import ROUNDING


def rollout_correlation(
    entropy: Float[Tensor, "rollouts tokens"],
    strength: Float[Tensor, "rollouts tokens"],
    mask: Bool[Tensor, "rollouts tokens"],
    statistic: str = "spearman",
    min_tokens: int = 8,
) -> Float[Tensor, " rollouts"]:
    """Correlation of token entropy and gradient strength over the tokens of each rollout (METHOD 6).

    Args:
        entropy: H_t of each token, any floating dtype.
        strength: g_t of each token, any floating dtype.
        mask: True for the tokens that count, anywhere in the row. What stands elsewhere is never read.
        statistic: "spearman", with mid-ranks for ties; "pearson"; "position_partial", Spearman with the
            position of the token in the row partialled out of both.
        min_tokens: a rollout of fewer tokens has no rho; 3 or more.

    Returns:
        float64 [rollouts] on the device of `entropy`, in [-1, 1], without gradient. NaN where a rollout has
        no rho: fewer than `min_tokens` tokens, a constant entropy or strength (up to rounding), or, for
        "position_partial", a position that determines the ranks of one of them.

    Raises:
        BadInputError: an unknown statistic, shapes that differ, a mask that is not boolean, `min_tokens`
            below 3.
        NonFiniteError: a token that counts is NaN or infinite; the message and `row` name the rollout.

    >>> entropy = torch.tensor([[1.0, 2.0, 3.0, 4.0, 9.0], [1.0, 1.0, 1.0, 1.0, 1.0]])
    >>> strength = torch.tensor([[8.0, 7.0, 5.0, 6.0, 9.0], [8.0, 7.0, 5.0, 6.0, 9.0]])
    >>> mask = torch.tensor([[True, True, True, True, False]] * 2)
    >>> rollout_correlation(entropy, strength, mask, min_tokens=4)
    tensor([-0.8000,     nan], dtype=torch.float64)
    """
    _check_settings(statistic, min_tokens)
    _check_alike({"entropy": entropy, "strength": strength}, mask)
    x, y = entropy.detach().double(), strength.detach().double()
    _refuse_non_finite("entropy", x, mask)
    _refuse_non_finite("strength", y, mask)
    if not mask.any():
        return x.new_full(x.shape[:1], math.nan)
    exists = (mask.sum(1) >= min_tokens) & _varies(x, mask) & _varies(y, mask)
    return STATISTICS[statistic](x, y, mask).where(exists, math.nan)


def midranks(
    values: Float[Tensor, "rollouts tokens"], mask: Bool[Tensor, "rollouts tokens"]
) -> Float[Tensor, "rollouts tokens"]:
    """Mid-ranks of each row's masked-in values among themselves: the number below plus half of those level.

    This is the usual 1-based mid-rank less one half, as in `corrpo.statistics.coefficients.midranks`;
    float64, NaN where `mask` is False. An error about values that are not finite says where they are.

    >>> midranks(torch.tensor([[3.0, 1.0, 7.0, 3.0]]), torch.tensor([[True, True, False, True]]))
    tensor([[2.0000, 0.5000,    nan, 2.0000]], dtype=torch.float64)
    """
    _check_alike({"values": values}, mask)
    values = values.detach().double()
    _refuse_non_finite("values", values, mask)
    return _ranked(values, mask)


def _ranked(values: Tensor, mask: Tensor) -> Tensor:
    """`midranks` of checked float64 values: what is masked out sorts behind everything."""
    values = values.masked_fill(~mask, math.inf).contiguous()
    ordered = values.sort(dim=1).values
    below = torch.searchsorted(ordered, values)
    up_to = torch.searchsorted(ordered, values, right=True)
    return ((below + up_to).double() / 2).where(mask, math.nan)


def _unit_deviations(values: Tensor, mask: Tensor) -> Tensor:
    """Each row less its mean, scaled to length 1, 0 where masked out; NaN for a row that is constant."""
    n = mask.sum(1, keepdim=True).clamp(min=1)
    kept = values.where(mask, 0.0)
    deviations = (values - kept.sum(1, keepdim=True) / n).where(mask, 0.0)
    length = torch.linalg.vector_norm(deviations, dim=1, keepdim=True)
    rounding = n.sqrt() * ROUNDING * kept.abs().amax(1, keepdim=True)
    return (deviations / length).where(length > rounding, math.nan)


def _cosine(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum(1).clamp(-1.0, 1.0)


def _pearson(x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    return _cosine(_unit_deviations(x, mask), _unit_deviations(y, mask))


def _spearman(x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    return _pearson(_ranked(x, mask), _ranked(y, mask), mask)


def _position_partial(x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """(r_xy - r_xz r_yz) / sqrt((1 - r_xz^2)(1 - r_yz^2)) of the ranks, z the position."""
    x, y = _unit_deviations(_ranked(x, mask), mask), _unit_deviations(_ranked(y, mask), mask)
    position = _unit_deviations(mask.cumsum(1).double(), mask)
    xy, xz, yz = _cosine(x, y), _cosine(x, position), _cosine(y, position)
    rest = (1 - xz * xz) * (1 - yz * yz)
    return ((xy - xz * yz) / rest.sqrt()).clamp(-1.0, 1.0).where(rest > ROUNDING, math.nan)


STATISTICS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "spearman": _spearman,
    "pearson": _pearson,
    "position_partial": _position_partial,
}
"""Name -> the coefficient of each row of x and y, checked float64 [rollouts, tokens], where mask is True."""


def _varies(values: Tensor, mask: Tensor) -> Tensor:
    """Bool [rollouts]: the spread of a row is more than rounding."""
    low = values.masked_fill(~mask, math.inf).amin(1)
    high = values.masked_fill(~mask, -math.inf).amax(1)
    return high - low > ROUNDING * torch.maximum(low.abs(), high.abs())


def _check_settings(statistic: str, min_tokens: int) -> None:
    check_known("statistic", statistic, STATISTICS)
    if min_tokens < 3:
        raise BadInputError(
            f"min_tokens={min_tokens}: expected 3 or more, as fewer tokens have no correlation"
        )


def _check_alike(named: dict[str, Tensor], mask: Tensor) -> None:
    if mask.dtype != torch.bool:
        raise BadInputError(f"mask has dtype {mask.dtype}; expected torch.bool, True for a token that counts")
    for name, values in named.items():
        if values.dim() != 2 or values.shape != mask.shape:
            raise BadInputError(
                f"{name} has shape {tuple(values.shape)} and mask {tuple(mask.shape)}; expected the same "
                "[rollouts, tokens] for both"
            )


def _refuse_non_finite(name: str, values: Tensor, mask: Tensor) -> None:
    bad = ~values.isfinite() & mask
    if bad.any():
        row, token = bad.nonzero()[0].tolist()
        error = NonFiniteError(
            f"rollout {row}: {name} at token {token} is {values[row, token].item()}; expected finite numbers "
            f"where the mask is True ({int(bad.any(1).sum())} of {len(values)} rollouts have others): mask "
            "the token out, or run the model in a wider dtype (float32)"
        )
        error.row = row
        raise error
