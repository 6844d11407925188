"""The Frobenius norm: the root of the sum of the squared entries, or singular values."""

import torch
from torch import Tensor

from corrpo.strength.norms.norm import Norm, rank_one_length, small_product


def _of_product(delta: Tensor, factor: Tensor) -> Tensor:
    return torch.linalg.vector_norm(small_product(delta, factor), dim=(-2, -1), dtype=torch.float64)


NORM = Norm(
    name="frobenius",
    summary="the root of the sum of the squared entries",
    of_matrix=torch.linalg.vector_norm,
    of_product=_of_product,
    of_rank_one=rank_one_length,
)
