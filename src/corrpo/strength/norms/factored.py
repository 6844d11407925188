"""Norms of a matrix given as a product of two thin factors, never formed (METHOD 2).

The gradient of one logit with respect to one projection is G = sum_s delta_s a_s^T = Delta^T A, with
Delta (t x d_out) the derivatives at the projection's outputs and A (t x d_in) its inputs. With the QR
decomposition A^T = Q R, the columns of Q are orthonormal, so G = Delta^T R^T Q^T has the singular values
of the small matrix M = Delta^T R^T, and `row_factor` = R^T needs to be found once for every token that
shares the inputs: it is lower triangular, so its first s rows and columns factor the first s rows of A.

Singular values come from the eigenvalues of the smaller Gram matrix of M, in float64: squaring halves the
digits, and values under about 1e-8 of the largest are lost, which moves a sum of r of them by at most
r * 1e-8 of the largest. Half of float32's digits would not do. What is particular to one norm is in its
record.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from corrpo.strength.norms import check_tolerance, norm_named
from corrpo.strength.norms.rounding import scaled, times_power_of_two

_PREFIX_BLOCK = 8


def row_factor(inputs: Float[Tensor, "*batch t d_in"]) -> Float[Tensor, "*batch t r"]:
    """R^T of the QR decomposition of A^T, r = min(t, d_in): the same Gram matrix as A in fewer columns.

    Computed in float64, returned in float32 or better. The first s rows, cut to min(s, d_in) columns,
    are the factor of the first s rows of A.
    """
    factor = torch.linalg.qr(inputs.mT.double(), mode="r").R.mT
    return factor.to(torch.promote_types(inputs.dtype, torch.float32))


def gram_factor(inputs: Float[Tensor, "n t d_in"]) -> Float[Tensor, "n t t"]:
    """`row_factor` of n short matrices, t < d_in, by the Cholesky decomposition of A A^T in float64.

    Several times as quick as QR, and as accurate as singular values from Gram matrices are; where rounding
    leaves A A^T without one, QR takes its place.
    """
    wide, exponent = scaled(inputs.double())
    factor, failed = torch.linalg.cholesky_ex(wide @ wide.mT)
    factor = times_power_of_two(factor, exponent[:, None, None]).to(
        torch.promote_types(inputs.dtype, torch.float32)
    )
    if failed.any():
        which = failed.nonzero()[:, 0]
        factor[which] = row_factor(inputs[which])
    return factor


def short_factor(inputs: Float[Tensor, "n t d_in"], norm: str) -> Float[Tensor, "n t r"]:
    """What `product_norm` takes for n second factors: `gram_factor` where it is smaller and does, else A."""
    does = norm_named(norm).by_singular_values and inputs.shape[-2] < inputs.shape[-1]
    return gram_factor(inputs) if does else inputs


def product_norm(
    delta: Float[Tensor, "n t d_out"],
    inputs: Float[Tensor, "*n t d_in"],
    norm: str = "nuclear",
    tolerance: float | None = None,
) -> Float[Tensor, " n"]:
    """Norm of each G_i = Delta_i^T A_i without forming any G_i.

    Args:
        delta: n first factors.
        inputs: the second factor, one for all (t, d_in) or one each (n, t, d_in). For a norm that singular
            values decide, every one but l1, their `row_factor` may stand in their place.
        norm: one of `corrpo.strength.norms.NORMS`.
        tolerance: the largest relative error allowed of a nuclear norm, enforced by a bound
            (`certified_nuclear_norm`); None for rounding alone.

    Returns:
        n norms, float64.

    Raises:
        BadInputError: an unknown norm, or a tolerance out of (0, 1) or with another norm than the nuclear.
        NonFiniteError: a factor holds NaN or infinite values.

    >>> from corrpo.strength.norms import NORMS
    >>> delta, inputs = torch.eye(3)[None], torch.diag(torch.tensor([3.0, 4.0, 0.0]))
    >>> [product_norm(delta, inputs, norm).item() for norm in NORMS]
    [7.0, 5.0, 4.0, 7.0]
    """
    record = norm_named(norm)
    check_tolerance(tolerance, norm)
    dtype = torch.promote_types(delta.dtype, torch.float32)
    delta, exponent = scaled(delta.to(dtype))
    inputs, other = scaled(inputs.to(dtype))
    if inputs.dim() == 3:
        inputs = short_factor(inputs, norm)
    elif record.by_singular_values and inputs.shape[-2] < inputs.shape[-1]:
        inputs = row_factor(inputs)
    if tolerance is None or record.within_tolerance is None:
        norms = record.of_product(delta, inputs)
    else:
        norms = record.within_tolerance(delta, inputs, tolerance)[0]
    return times_power_of_two(norms, exponent + other)


def second_factor(inputs: Float[Tensor, "t d_in"], norm: str) -> Float[Tensor, "t r"]:
    """What `prefix_norms` takes for the inputs A: `row_factor` if singular values decide the norm, else A."""
    return row_factor(inputs) if norm_named(norm).by_singular_values else inputs


def prefix_norms(
    delta: Float[Tensor, "n t d_out"],
    factor: Float[Tensor, "s r"],
    prefixes: Sequence[int],
    norm: str,
    tolerance: float | None = None,
) -> Float[Tensor, " n"]:
    """`product_norm` of gradients that reach back over `prefixes`, ascending, of one sequence.

    A few gradients of neighbouring prefixes are taken at a time, cut to the longest of them, because the
    eigenvalues of a t x t matrix cost t^3. Row s of delta_i is zero for s >= prefixes[i]; `factor` is the
    `second_factor` of the inputs.
    """
    cuts_columns = norm_named(norm).by_singular_values
    norms = []
    for start in range(0, len(prefixes), _PREFIX_BLOCK):
        block = slice(start, start + _PREFIX_BLOCK)
        prefix = prefixes[block][-1]
        columns = min(prefix, factor.shape[1]) if cuts_columns else factor.shape[1]
        norms.append(product_norm(delta[block, :prefix], factor[:prefix, :columns], norm, tolerance))
    return torch.cat(norms)


def rank_one_norm(
    delta: Float[Tensor, "n d_out"], inputs: Float[Tensor, "n d_in"], norm: str = "nuclear"
) -> Float[Tensor, " n"]:
    """Norm of each delta_i a_i^T, float64.

    >>> rank_one_norm(torch.tensor([[3.0, 4.0]]), torch.tensor([[2.0, 0.0]])).item()
    10.0
    """
    return norm_named(norm).of_rank_one(delta, inputs)


def matrix_norm(matrix: Float[Tensor, "d_out d_in"], norm: str = "nuclear") -> Float[Tensor, ""]:
    """Norm of a matrix that is at hand, from its own singular values: the judge of the functions above.

    >>> matrix_norm(torch.diag(torch.tensor([3.0, 4.0])), "nuclear").item()
    7.0
    """
    record = norm_named(norm)
    matrix, exponent = scaled(matrix.to(torch.promote_types(matrix.dtype, torch.float32)))
    return times_power_of_two(record.of_matrix(matrix), exponent)
