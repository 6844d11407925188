"""Nuclear norms within a tolerance that is proved for each one: a low rank with a bound on the rest.

With M = Delta^T A or its transpose (q x p, q <= p, rank at most r), Q a matrix of k orthonormal rows and
B = Q M,

    ||B||_*  <=  ||M||_*  <=  ||B||_* + sqrt(min(r, q - k)) sqrt(||M||_F^2 - ||B||_F^2).

Proof. B has the singular values of Q^T Q M, and singular values do not grow when a matrix is multiplied by an
orthogonal projection: the first inequality. For the second, M = Q^T Q M + E with E = (I - Q^T Q) M. The
columns of E are orthogonal to those of Q^T Q M, so ||E||_F^2 = ||M||_F^2 - ||B||_F^2; they lie in the q - k
directions that Q leaves, so E has at most min(r, q - k) singular values that are not zero, and their sum is
at most the root of their number times the root of the sum of their squares (Cauchy and Schwarz). The triangle
inequality of ||.||_* does the rest. The bracket of METHOD 2, with k singular values known, is the same
formula, and to leave out some of the k only widens it, by Cauchy and Schwarz again.

The middle of the bracket is given, with half its width and all rounding (`rounding`) as the bound. Q comes
from a randomized range finder with a power iteration (Halko, Martinsson, Tropp, SIAM Review 53, 2011,
section 4): the directions are random, but seeded and the same in every call, and they decide how narrow the
bracket is, never whether it holds. The rank doubles until the bound is within the tolerance, only for the
gradients that are not there yet; those whose residual falls too slowly go to the eigenvalues of a whole
Gram matrix, and from there, where squaring costs too many digits, to singular values in float64.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from corrpo.strength.norms import check_relative_error
from corrpo.strength.norms.rounding import (
    frobenius_squared,
    gamma,
    gram_roots,
    nuclear_by_gram,
    nuclear_by_svd,
    rounded_product,
    scaled,
    times_power_of_two,
)

FIRST_RANK = 16
SMALLEST_SIDE = 160
"""Matrices with a shorter side than this go to eigenvalues at once, which take less time."""

_SEED = 20
_NARROW_TOLERANCE = 1e-4


def certified_nuclear_norm(
    delta: Float[Tensor, "n t d_out"], factor: Float[Tensor, "*n t r"], tolerance: float
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """||Delta_i^T A_i||_* and a bound on the error of each, at most `tolerance` of the value.

    The bounds hold for the factors as given, whatever they hold, and cover the rounding of everything here.
    One thing keeps a bound from being `tolerance` of the value: terms of the sum over t that cancel each
    other to within float64's rounding, as when exactly opposite rows meet equal ones. The bound then still
    holds and is of the order of 1e-16 of the terms that cancel.

    Args:
        delta: n first factors.
        factor: the second, one for all or one each: A, or its `row_factor`.
        tolerance: the largest relative error allowed, in (0, 1).

    Returns:
        n norms and n bounds, float64, the same in every call.

    Raises:
        BadInputError: a tolerance out of its range.
        NonFiniteError: a factor holds NaN or infinite values.

    >>> delta, factor = torch.diag(torch.tensor([3.0, 4.0]))[None], torch.eye(2)
    >>> values, bounds = certified_nuclear_norm(delta, factor, 0.01)
    >>> bool((values - 7).abs() <= bounds), bool(bounds <= 0.01 * values)
    (True, True)
    """
    check_relative_error(tolerance)
    dtype = torch.promote_types(delta.dtype, torch.promote_types(factor.dtype, torch.float32))
    delta, exponent = scaled(delta.to(dtype))
    factor, other = scaled(factor.to(dtype))
    work = _Work.of(delta, factor, tolerance)
    if work.product.shape[-2] >= SMALLEST_SIDE:
        _by_low_rank(work, tolerance)
    _by_whole_spectrum(work, tolerance)
    exponent = exponent + other
    return times_power_of_two(work.values, exponent), times_power_of_two(work.bounds, exponent)


@dataclass
class _Work:
    """The gradients of one call and what is known of their norms.

    Attributes:
        delta, factor: [n, t, d_out], [*n, t, r], scaled.
        rough: [n, q, p], q <= p, their product or its transpose, in the factors' dtype.
        product: the same in float64, more accurate where `rough` was not accurate enough.
        narrow: whether each product was computed in float32, [n].
        error: how far `product` is from the exact product, in Frobenius norm, [n].
        ranks: upper bounds of the ranks, [n]: rows of delta that are not zero.
        values, bounds: the norms, and their bounds, infinite where not known yet, [n].
    """

    delta: Tensor
    factor: Tensor
    rough: Tensor
    product: Tensor
    narrow: Tensor
    error: Tensor
    ranks: Tensor
    values: Tensor
    bounds: Tensor

    @classmethod
    def of(cls, delta: Tensor, factor: Tensor, tolerance: float) -> "_Work":
        """Multiply the factors, in float32 where its rounding is small beside the tolerance."""
        rough, error = rounded_product(delta, factor, delta.dtype)
        product, side = rough.double(), rough.shape[-2]
        coarse = math.sqrt(side) * error > tolerance / 3 * frobenius_squared(product)[0].sqrt()
        narrow = torch.full_like(coarse, delta.dtype == torch.float32)
        ranks = (torch.maximum(delta.amax(-1), -delta.amin(-1)) > 0).sum(-1).clamp_max(side)
        values, bounds = torch.zeros_like(error), torch.full_like(error, math.inf)
        work = cls(delta, factor, rough, product, narrow, error, ranks, values, bounds)
        work.widen((coarse & narrow).nonzero()[:, 0])
        return work

    def widen(self, which: Tensor) -> None:
        """Multiply the factors of some gradients again, in float64."""
        if len(which):
            factor = self.factor if self.factor.dim() == 2 else self.factor[which]
            self.product[which], self.error[which] = rounded_product(self.delta[which], factor, torch.float64)
            self.narrow[which] = False

    def settle(self, which: Tensor, values: Tensor, errors: Tensor) -> None:
        """Keep norms of computed products, with bounds that also cover how far those are from exact ones."""
        self.values[which] = values
        spread = math.sqrt(self.product.shape[-2])
        self.bounds[which] = (errors + spread * self.error[which]) * (1 + 1e-9)


def _by_low_rank(work: _Work, tolerance: float) -> None:
    """Norms of the gradients that a basis of a third of all directions brackets within the tolerance."""
    product, rough = work.product, work.rough if tolerance >= _NARROW_TOLERANCE else work.product
    n, side, columns = product.shape
    todo = torch.arange(n, device=product.device)
    squared, relative = frobenius_squared(product)
    basis, image = product.new_empty(n, 0, side), product.new_empty(n, 0, columns)
    rank, most = FIRST_RANK, side // 3
    while rank <= most and len(todo):
        basis = _widened_basis(rough, basis, rank)
        image = torch.cat([image, basis[:, image.shape[1] :] @ product], dim=1)
        roots, error, residual = _bracket(image, basis, squared[todo], relative)
        tail = work.ranks[todo].clamp_max(side - rank).sqrt() * residual
        values = roots.sum(-1) + tail / 2
        work.settle(todo, values, error + tail / 2)
        done = work.bounds[todo] <= tolerance * values
        work.bounds[todo[~done]] = math.inf
        on = ~done & _hopeful(roots, tail, tolerance * values, most)
        if not on.all():
            todo, basis, image, product, rough = (x[on] for x in (todo, basis, image, product, rough))
        rank = min(2 * rank, most) if rank < most else side


def _hopeful(roots: Tensor, tail: Tensor, wanted: Tensor, most: int) -> Tensor:
    """Whether half of `tail` may be within what is wanted at rank `most`, if it falls as singular values do.

    They fall more slowly further on, so what is given up here would seldom have been done; and a wrong guess
    costs time alone.
    """
    rank = roots.shape[-1]
    fall = roots[:, rank // 4] / roots[:, 3 * rank // 4]
    return tail * fall ** (2 * (most - rank) / rank) / 2 <= wanted


def _widened_basis(matrix: Tensor, basis: Tensor, rank: int) -> Tensor:
    """Orthonormal rows [n, rank, q] within the columns of each matrix [n, q, p], those of `basis` kept.

    New ones are random combinations of columns, drawn towards the largest singular values by one power
    iteration.
    """
    new = rank - basis.shape[-2]
    generator = torch.Generator().manual_seed(_SEED + rank)
    start = torch.randn(matrix.shape[-1], new, generator=generator, dtype=torch.float64)
    directions = _orthonormal((matrix @ start.to(matrix)).mT.double(), basis)
    directions = matrix @ (directions.to(matrix.dtype) @ matrix).mT
    return torch.cat([basis, _orthonormal(directions.mT.double(), basis)], dim=1)


def _orthonormal(rows: Tensor, basis: Tensor) -> Tensor:
    """Orthonormal rows of the same span, orthogonal to `basis`: twice, as rounding wants it; float64."""
    for _ in range(2 if basis.shape[1] else 1):
        rows = torch.linalg.qr((rows - (rows @ basis.mT) @ basis).mT).Q.mT
    return rows


def _bracket(image: Tensor, basis: Tensor, squared: Tensor, relative: float) -> tuple[Tensor, Tensor, Tensor]:
    """Singular values of Q M [n, k], a bound on the error of their sum, an upper bound of ||M - Q^T Q M||_F.

    `basis` is orthonormal to rounding only: with Q Q^T = H^2, H^-1 Q is orthonormal, and ||H^-1 - I|| is at
    most ||H^2 - I||_F where that is at most 1/2. `squared` is ||M||_F^2 to within `relative` of itself.
    """
    rank, side = basis.shape[-2:]
    slip = gamma(side, torch.float64)
    identity = torch.eye(rank, dtype=basis.dtype, device=basis.device)
    skew = torch.linalg.vector_norm(basis @ basis.mT - identity, dim=(-2, -1)) + 2 * slip * rank
    image_squared, image_relative = frobenius_squared(image)
    length = image_squared.sqrt()
    # of the image, in Frobenius norm
    error = 2 * slip * math.sqrt(rank) * squared.sqrt() + 2 * skew * length
    error = torch.where(skew <= 0.5, error, math.inf)
    lost = relative * squared + image_relative * image_squared + error * (2 * length + error)
    residual = ((squared - image_squared).clamp_min(0.0) + 2 * lost).sqrt()
    roots, rounding = gram_roots(image)
    return roots, rounding + math.sqrt(rank) * error, residual


def _by_whole_spectrum(work: _Work, tolerance: float) -> None:
    """Norms of all others, by the cheapest way that is within the tolerance."""
    for method in (nuclear_by_gram, nuclear_by_svd):
        todo = torch.isinf(work.bounds).nonzero()[:, 0]
        if not len(todo):
            return
        if method is nuclear_by_svd:
            work.widen(todo[work.narrow[todo]])
        work.settle(todo, *method(work.product if len(todo) == len(work.product) else work.product[todo]))
        if method is nuclear_by_gram:
            work.bounds[work.bounds > tolerance * work.values] = math.inf
