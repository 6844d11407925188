"""What floating point adds to a certified norm: bounds on rounding, none of them estimates.

A sum of n products is wrong by at most gamma_n = n u / (1 - n u) times the sum of their absolute values, in
whatever order it is taken (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1), with u half
the distance from 1 to the next number. For a matrix product this gives |fl(X Y) - X Y| <= gamma |X| |Y|
entry by entry. LAPACK finds the eigenvalues of a symmetric matrix, and singular values, to within p(n) u
times the matrix's norm, where p(n) is "a modestly growing function" (LAPACK Users' Guide, section 4.7), in
practice about 1; 10 n is allowed for here.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from corrpo.errors import NonFiniteError

UNIT = {torch.float32: 2.0**-24, torch.float64: 2.0**-53}
UNDERFLOW = {torch.float32: 2.0**-149, torch.float64: 2.0**-1074}

_LIMIT = {torch.float32: 126, torch.float64: 1000}
_SPLIT_SIDE = 96
"""From this side on, three quarters of a Gram matrix in two products take less time than all of it."""


def largest_entry(matrix: Float[Tensor, "*n rows columns"]) -> Float[Tensor, "*n"]:
    """The largest absolute entry of each matrix.

    Raises:
        NonFiniteError: an entry is NaN or infinite.
    """
    if not matrix.numel():
        return matrix.new_zeros(matrix.shape[:-2])
    largest = torch.maximum(matrix.amax((-2, -1)), -matrix.amin((-2, -1)))
    if not torch.isfinite(largest).all():
        raise NonFiniteError("a gradient holds NaN or infinite values; try a wider dtype (float32)")
    return largest


def scaled(matrix: Float[Tensor, "*n rows columns"]) -> tuple[Tensor, Tensor]:
    """Each matrix divided by the power of two next to its largest entry, without rounding; and the exponents.

    A matrix that is not so large or small that a square or product could overflow or lose digits is left as
    it is, with exponent 0. `times_power_of_two` takes a norm back.

    Raises:
        NonFiniteError: an entry is NaN or infinite.
    """
    exponent = _exponent(largest_entry(matrix))
    if exponent.any():
        matrix = matrix * torch.exp2(-exponent.to(matrix.dtype))[..., None, None]
    return matrix, exponent


def times_power_of_two(values: Tensor, exponent: Tensor) -> Tensor:
    """values * 2^exponent in float64, by two factors neither of which overflows alone.

    >>> times_power_of_two(torch.tensor(3.0), torch.tensor(2))
    tensor(12., dtype=torch.float64)
    """
    half = exponent // 2
    return values.double() * torch.exp2(half.double()) * torch.exp2((exponent - half).double())


def vector_lengths(vectors: Float[Tensor, "*n d"], order: int = 2) -> Float[Tensor, "*n"]:
    """The norm of this order of each vector, in float64, however large or small; NaN of NaN.

    >>> vector_lengths(torch.tensor([3e-200, 4e-200], dtype=torch.float64)).item()
    5e-200
    """
    if vectors.dtype != torch.float64:  # no square of a narrower number leaves float64
        return torch.linalg.vector_norm(vectors, ord=order, dim=-1, dtype=torch.float64)
    exponent = _exponent(torch.nan_to_num(vectors.abs().amax(-1), nan=1.0, posinf=1.0))
    lengths = torch.linalg.vector_norm(vectors * torch.exp2(-exponent.double())[..., None], ord=order, dim=-1)
    return times_power_of_two(lengths, exponent)


def _exponent(largest: Tensor) -> Tensor:
    """That of the power of two next to each number; 0 where its square is far from the ends of the dtype."""
    limit = _LIMIT[largest.dtype]
    exponent = torch.frexp(largest).exponent.clamp(-limit, limit)
    return torch.where(exponent.abs() > limit // 4, exponent, 0)


def gamma(terms: int, dtype: torch.dtype) -> float:
    """gamma_n of a sum of `terms` products in `dtype`, its own rounding to float64 included."""
    share = (terms + 2) * UNIT[dtype]
    return share / (1 - share) if share < 1 else float("inf")


def rounded_product(
    delta: Float[Tensor, "n t d"], factor: Float[Tensor, "*n t r"], dtype: torch.dtype
) -> tuple[Float[Tensor, "n q p"], Float[Tensor, " n"]]:
    """Delta^T A or its transpose, the shorter side first, and how far the exact product is at most.

    In Frobenius norm, float64: with rows delta_s and a_s, || |Delta|^T |A| ||_F <= sum_s |delta_s| |a_s|,
    which is multiplied by gamma_t.
    """
    left, right = delta.to(dtype), factor.to(dtype)
    if delta.shape[-1] > factor.shape[-1]:
        left, right = right, left
    product = torch.matmul(left.mT, right)
    terms, rows, columns = delta.shape[-2], delta.shape[-1], factor.shape[-1]
    lengths = [torch.linalg.vector_norm(x, dim=-1, dtype=torch.float64) for x in (delta, factor)]
    absolute = (lengths[0] * lengths[1]).sum(-1)
    lost = (rows * columns) ** 0.5 * 2 * terms * UNDERFLOW[dtype]
    return product, torch.where(absolute > 0, gamma(terms, dtype) * absolute * (1 + 1e-9) + lost, 0.0)


def frobenius_squared(matrix: Float[Tensor, "*n rows columns"]) -> tuple[Float[Tensor, "*n"], float]:
    """||M||_F^2, and the largest relative error of it; M is float64."""
    value = torch.linalg.vector_norm(matrix, dim=-1).square().sum(-1)
    return value, 2 * gamma(sum(matrix.shape[-2:]) + 4, torch.float64)


def lower_gram(matrix: Float[Tensor, "*n rows columns"]) -> Float[Tensor, "*n k k"]:
    """M M^T, or M^T M if that is smaller; only the lower triangle, which LAPACK reads, is filled."""
    if matrix.shape[-2] > matrix.shape[-1]:
        matrix = matrix.mT
    side, half = matrix.shape[-2], matrix.shape[-2] // 2
    if side < _SPLIT_SIDE or matrix.device.type != "cpu":
        return matrix @ matrix.mT
    gram = matrix.new_zeros(*matrix.shape[:-2], side, side)
    gram[..., :half] = matrix @ matrix[..., :half, :].mT
    gram[..., half:, half:] = matrix[..., half:, :] @ matrix[..., half:, :].mT
    return gram


def eigenvalues_of(gram: Float[Tensor, "*n k k"]) -> Float[Tensor, "*n k"]:
    """Eigenvalues of symmetric matrices, ascending; on the CPU the matrices are shared between the cores.

    LAPACK takes one matrix after another, and gains nothing by threads within one of these sizes.
    """
    threads = torch.get_num_threads() if gram.device.type == "cpu" else 1
    if threads < 2 or gram.dim() < 3 or len(gram) < 2:
        return torch.linalg.eigvalsh(gram)
    return torch.cat(list(_single_threads(threads).map(torch.linalg.eigvalsh, gram.tensor_split(threads))))


@cache
def _single_threads(threads: int) -> ThreadPoolExecutor:
    """Threads of which each computes on one core; the caller's own number of threads stays as it is."""
    return ThreadPoolExecutor(threads, initializer=lambda: torch.set_num_threads(1))


def gram_roots(
    matrix: Float[Tensor, "*n rows columns"],
) -> tuple[Float[Tensor, "*n k"], Float[Tensor, "*n"]]:
    """Singular values, ascending, from the smaller Gram matrix, and a bound on the error of their sum.

    The matrix is float64. A computed eigenvalue l' is within eta of the true one, l (Weyl), with eta the
    rounding of the Gram matrix and of LAPACK. So |sqrt(l) - sqrt(l')| = |l - l'| / (sqrt(l) + sqrt(l')) is at
    most eta / sqrt(l') and at most sqrt(eta), for l' < 0 counted as 0 too.
    """
    rows, columns = matrix.shape[-2:]
    gram = lower_gram(matrix)
    side = gram.shape[-1]
    roots = eigenvalues_of(gram).clamp_min(0.0).sqrt()
    squared, _ = frobenius_squared(matrix)
    eta = (gamma(max(rows, columns), torch.float64) + 10 * side * UNIT[torch.float64]) * squared
    eta = eta[..., None] * (1 + 1e-9)
    errors = torch.where(eta > 0, torch.minimum(eta.sqrt(), eta / roots), 0.0)
    return roots, errors.sum(-1) + roots.sum(-1) * gamma(side, torch.float64)


def nuclear_by_gram(
    matrix: Float[Tensor, "*n rows columns"],
) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
    """||M||_* from `gram_roots`, and a bound on its error; M is float64."""
    roots, error = gram_roots(matrix)
    return roots.sum(-1), error


def nuclear_by_svd(
    matrix: Float[Tensor, "*n rows columns"],
) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
    """||M||_* from the singular values of M itself, and a bound on its error; M is float64."""
    values = torch.linalg.svdvals(matrix)
    most = 10 * max(matrix.shape[-2:]) * UNIT[torch.float64]
    return values.sum(-1), most * values.shape[-1] * values.amax(-1)
