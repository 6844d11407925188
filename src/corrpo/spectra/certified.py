"""Nuclear norms within a tolerance that is proved for each one: a low rank with a bound on the rest.

With M = Delta^T A (p x q, at most r of its rows or columns independent), Q an orthonormal basis of k
directions of its rows and B = M Q,

    ||B||_*  <=  ||M||_*  <=  ||B||_* + sqrt(min(r, q - k)) sqrt(||M||_F^2 - ||B||_F^2).

Proof. B has the singular values of M Q Q^T, and singular values do not grow when a matrix is multiplied by an
orthogonal projection: the first inequality. For the second, M = M Q Q^T + E with E = M (I - Q Q^T). The rows
of E are orthogonal to those of M Q Q^T, so ||E||_F^2 = ||M||_F^2 - ||B||_F^2; they lie in the q - k
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

from corrpo.errors import BadInputError, NonFiniteError
from corrpo.spectra.rounding import (
    frobenius_squared,
    gamma,
    nuclear_by_gram,
    nuclear_by_svd,
    rounded_product,
)

FIRST_RANK = 8
SMALLEST_SIDE = 48
"""Matrices with a shorter side than this go to eigenvalues at once, which take less time than a basis."""

_SEED = 20
_NARROW_TOLERANCE = 1e-4
_LARGEST_EXPONENT = {torch.float32: 126, torch.float64: 1000}


def check_tolerance(tolerance: float) -> None:
    """Raise `BadInputError` unless 0 < tolerance < 1."""
    if not 0 < tolerance < 1:
        raise BadInputError(
            f"tolerance={tolerance!r}: expected a relative error between 0 and 1, for example 0.01"
        )


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
    check_tolerance(tolerance)
    if not (torch.isfinite(delta).all() and torch.isfinite(factor).all()):
        raise NonFiniteError("a gradient holds NaN or infinite values; try a wider dtype (float32)")
    dtype = torch.promote_types(delta.dtype, torch.promote_types(factor.dtype, torch.float32))
    delta, scale = _scaled(delta.to(dtype), (-2, -1))
    factor, other = _scaled(factor.to(dtype), (-2, -1))
    work = _Work.of(delta, factor.expand(len(delta), -1, -1), tolerance)
    side, most = work.product.shape[-1], work.product.shape[-1] // 3
    if side >= SMALLEST_SIDE:
        _by_low_rank(work, tolerance, most)
    _by_whole_spectrum(work, tolerance)
    return work.values * scale * other, work.bounds * scale * other


def _scaled(factor: Tensor, dims: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Each matrix divided by the power of two next to its largest entry, without rounding; and the powers."""
    limit = _LARGEST_EXPONENT[factor.dtype]
    exponent = torch.frexp(factor.abs().amax(dims)).exponent.clamp(-limit, limit)
    power = torch.exp2(-exponent.to(factor.dtype))
    return factor * power[..., None, None], torch.exp2(exponent.double())


@dataclass
class _Work:
    """The gradients of one call and what is known of their norms.

    Attributes:
        delta, factor: [n, t, d_out], [n, t, r], scaled.
        product: [n, p, q] float64, q <= p, their product or its transpose.
        narrow: whether each product was computed in float32, [n].
        error: how far each is from the exact product, in Frobenius norm, [n].
        ranks: upper bounds of the ranks, [n]: rows of delta that are not zero.
        values, bounds: the norms, infinite bounds where not known yet, [n].
    """

    delta: Tensor
    factor: Tensor
    product: Tensor
    narrow: Tensor
    error: Tensor
    ranks: Tensor
    values: Tensor
    bounds: Tensor

    @classmethod
    def of(cls, delta: Tensor, factor: Tensor, tolerance: float) -> "_Work":
        """Multiply the factors, in float32 where its rounding is small beside the tolerance."""
        product, error = rounded_product(delta, factor, delta.dtype)
        product = product.double()
        side = min(product.shape[-2:])
        frobenius = frobenius_squared(product)[0].sqrt()
        coarse = math.sqrt(side) * error > tolerance / 8 * frobenius
        if product.shape[-1] > product.shape[-2]:
            product = product.mT
        narrow = torch.full_like(coarse, delta.dtype == torch.float32)
        ranks = (delta != 0).any(-1).sum(-1).clamp_max(side)
        values, bounds = torch.zeros_like(error), torch.full_like(error, math.inf)
        work = cls(delta, factor, product, narrow, error, ranks, values, bounds)
        work.widen((coarse & narrow).nonzero()[:, 0])
        return work

    def widen(self, which: Tensor) -> None:
        """Multiply the factors of some gradients again, in float64."""
        if len(which):
            product, error = rounded_product(self.delta[which], self.factor[which], torch.float64)
            self.product[which] = product if product.shape == self.product[which].shape else product.mT
            self.error[which] = error
            self.narrow[which] = False

    def settle(self, which: Tensor, values: Tensor, errors: Tensor) -> None:
        """Keep norms of computed products, with bounds that also cover how far those are from exact ones."""
        self.values[which] = values
        spread = math.sqrt(self.product.shape[-1])
        self.bounds[which] = (errors + spread * self.error[which]) * (1 + 1e-9)


def _by_low_rank(work: _Work, tolerance: float, most: int) -> None:
    """Norms of those gradients that a basis of at most `most` directions brackets within the tolerance."""
    todo = torch.arange(len(work.product), device=work.product.device)
    squared, relative = frobenius_squared(work.product)
    dtype = torch.float32 if tolerance >= _NARROW_TOLERANCE else torch.float64
    rows, side = work.product.shape[-2:]
    basis = work.product.new_empty(len(todo), side, 0)
    image = work.product.new_empty(len(todo), rows, 0)
    before, rank = squared.sqrt(), min(FIRST_RANK, most)
    product, rough = work.product, work.product.to(dtype)
    while rank <= most and len(todo):
        basis = _widened_basis(rough, basis, rank)
        image = torch.cat([image, product @ basis[..., image.shape[-1] :]], dim=-1)
        lower, error, residual = _bracket(image, basis, squared[todo], relative)
        tail = torch.minimum(work.ranks[todo], torch.tensor(side - rank)).sqrt() * residual
        values, errors = lower + tail / 2, error + tail / 2
        work.settle(todo, values, errors)
        done = work.bounds[todo] <= tolerance * values
        # residuals of a geometric spectrum; others fall more slowly still
        fall = residual / before
        hopeless = tail * fall ** (2 * (most - rank) / rank) / 2 > tolerance * values
        before, rank = residual, 2 * rank
        work.bounds[todo[~done]] = math.inf
        on = ~done & ~hopeless
        todo, before, basis, image = todo[on], before[on], basis[on], image[on]
        product, rough = product[on], rough[on]


def _widened_basis(matrix: Tensor, basis: Tensor, rank: int) -> Tensor:
    """Orthonormal directions [n, q, rank] of the rows of each matrix [n, p, q], those of `basis` kept.

    New ones are random combinations of rows, drawn towards the largest singular values by one power
    iteration and made orthogonal to the old ones, twice, as rounding wants it.
    """
    new = rank - basis.shape[-1]
    generator = torch.Generator().manual_seed(_SEED + rank)
    start = torch.randn(matrix.shape[-2], new, generator=generator, dtype=torch.float64)
    found = matrix.mT @ start.to(matrix)
    found = _orthonormal(found.double(), basis)
    found = (matrix.mT @ (matrix @ found.to(matrix.dtype))).double()
    return torch.cat([basis, _orthonormal(found, basis)], dim=-1)


def _orthonormal(columns: Tensor, basis: Tensor) -> Tensor:
    """Orthonormal columns of the same span, orthogonal to `basis`; both float64."""
    columns = torch.linalg.qr(columns - basis @ (basis.mT @ columns)).Q
    if basis.shape[-1]:
        columns = torch.linalg.qr(columns - basis @ (basis.mT @ columns)).Q
    return columns


def _bracket(image: Tensor, basis: Tensor, squared: Tensor, relative: float) -> tuple[Tensor, Tensor, Tensor]:
    """||M Q||_*, a bound on its rounding, and an upper bound of ||M (I - Q Q^T)||_F.

    `basis` is orthonormal to rounding only: with Q^T Q = H^2, Q H^-1 is orthonormal, and ||H^-1 - I|| is at
    most ||H^2 - I||_F where that is at most 1/2. `squared` is ||M||_F^2 to within `relative` of itself.
    """
    side, rank = basis.shape[-2:]
    slip = gamma(side, torch.float64)
    identity = torch.eye(rank, dtype=basis.dtype, device=basis.device)
    skew = torch.linalg.vector_norm(basis.mT @ basis - identity, dim=(-2, -1)) + 2 * slip * rank
    image_squared, image_relative = frobenius_squared(image)
    length = image_squared.sqrt()
    # of the image, in Frobenius norm
    error = 2 * slip * math.sqrt(rank) * squared.sqrt() + 2 * skew * length
    error = torch.where(skew <= 0.5, error, math.inf)
    lost = relative * squared + image_relative * image_squared + error * (2 * length + error)
    residual = ((squared - image_squared).clamp_min(0.0) + 2 * lost).sqrt()
    value, rounding = nuclear_by_gram(image)
    return value, rounding + math.sqrt(rank) * error, residual


def _by_whole_spectrum(work: _Work, tolerance: float) -> None:
    """Norms of all others, by the cheapest way that is within the tolerance."""
    for method in (nuclear_by_gram, nuclear_by_svd):
        todo = torch.isinf(work.bounds).nonzero()[:, 0]
        if not len(todo):
            return
        if method is nuclear_by_svd:
            work.widen(todo[work.narrow[todo]])
        work.settle(todo, *method(work.product[todo]))
        if method is nuclear_by_gram:
            work.bounds[work.bounds > tolerance * work.values] = math.inf
