"""The entrywise l1 norm: the sum of the absolute entries, which singular values do not decide."""

import torch
from jaxtyping import Float
from torch import Tensor

from corrpo.strength.norms.norm import Norm, rank_one_length

_BLOCK_ELEMENTS = 1 << 22


def _of_product(delta: Float[Tensor, "n t d_out"], inputs: Float[Tensor, "*n t d_in"]) -> Float[Tensor, " n"]:
    """Sum of |entries| of each product, a few rows of the matrices at a time."""
    n, _, d_out = delta.shape
    step = max(1, _BLOCK_ELEMENTS // max(1, n * inputs.shape[-1]))
    total = delta.new_zeros(n, dtype=torch.float64)
    for start in range(0, d_out, step):
        rows = torch.matmul(delta[:, :, start : start + step].mT, inputs)
        total += rows.abs().sum((-2, -1), dtype=torch.float64)
    return total


NORM = Norm(
    name="l1",
    summary="the sum of the absolute entries",
    of_matrix=lambda matrix: matrix.abs().sum(),
    of_product=_of_product,
    of_rank_one=lambda delta, inputs: rank_one_length(delta, inputs, order=1),
    by_singular_values=False,
)
