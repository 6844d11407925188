"""`Norm`: what the estimators need to know of a norm, and the record of one that singular values decide."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from corrpo.strength.norms.rounding import eigenvalues_of, lower_gram, vector_lengths


@dataclass(frozen=True)
class Norm:
    """A norm of gradients G = Delta^T A, with Delta (t x d_out) and A (t x d_in).

    Attributes:
        name: as users write it.
        summary: what it is of a matrix, in a few words.
        of_matrix: from a matrix [d_out, d_in] that is at hand to its norm, a scalar in the matrix's dtype:
            the obvious computation, by which the others are judged.
        of_product: from Delta [n, t, d_out] and A [t, d_in] or [n, t, d_in], in one dtype of float32 or
            float64 and finite, to n norms in float64, without forming any G.
        of_rank_one: from n rows delta [n, d_out] and a [n, d_in] to the norms of delta_i a_i^T, float64.
        by_singular_values: whether singular values alone decide it. Then `of_product` may be given a factor
            with the Gram matrix of A in place of A (`row_factor`).
        within_tolerance: `of_product` with a largest relative error as third argument, to norms and bounds
            of their errors; None where the norm takes no tolerance.
    """

    name: str
    summary: str
    of_matrix: Callable[[Tensor], Tensor]
    of_product: Callable[[Tensor, Tensor], Tensor]
    of_rank_one: Callable[[Tensor, Tensor], Tensor]
    by_singular_values: bool = True
    within_tolerance: Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]] | None = None


def norm_of_singular_values(name: str, summary: str, of_values: Callable[[Tensor], Tensor]) -> Norm:
    """The record of a norm that singular values decide.

    Args:
        name: as in `Norm`.
        summary: as in `Norm`.
        of_values: from singular values [..., r], in any order, to the norm [...]. Values that are zero, of
            which there may be more or fewer, must not change it.

    >>> largest = norm_of_singular_values("largest", "the largest singular value", lambda s: s.amax(-1))
    >>> largest.of_matrix(torch.diag(torch.tensor([3.0, 4.0]))).item()
    4.0
    """
    return Norm(
        name=name,
        summary=summary,
        of_matrix=lambda matrix: of_values(torch.linalg.svdvals(matrix)),
        of_product=lambda delta, factor: of_values(gram_singular_values(small_product(delta, factor))),
        of_rank_one=lambda delta, inputs: of_values(rank_one_length(delta, inputs)[..., None]),
    )


def small_product(
    delta: Float[Tensor, "n t d_out"], factor: Float[Tensor, "*n t r"]
) -> Float[Tensor, "n q p"]:
    """Delta^T A or its transpose, the shorter side first: the same numbers, but quicker."""
    wide = delta.shape[-1] > factor.shape[-1]
    return torch.matmul(factor.mT, delta) if wide else torch.matmul(delta.mT, factor)


def gram_singular_values(matrix: Float[Tensor, "*n q p"]) -> Float[Tensor, "*n r"]:
    """Singular values, ascending, from the eigenvalues of the smaller Gram matrix, in float64."""
    return eigenvalues_of(lower_gram(matrix.double())).clamp_min(0.0).sqrt()


def rank_one_length(
    delta: Float[Tensor, "*n d_out"], inputs: Float[Tensor, "*n d_in"], order: int = 2
) -> Float[Tensor, "*n"]:
    """|delta_i| |a_i| in float64, vector norms of this order; with 2, the singular value of delta_i a_i^T."""
    return vector_lengths(delta, order) * vector_lengths(inputs, order)
