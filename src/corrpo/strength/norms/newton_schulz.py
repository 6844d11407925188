"""Nuclear norms from matrix products alone, for devices on which they are all that is fast.

For M = U S V^T (q x p, q <= p) of Frobenius norm 1, X_0 = M and

    X <- a X + b (X X^T) X + c (X X^T)^2 X

act on the singular values alone, x <- a x + b x^3 + c x^5, and drive those above 0 to 1: X -> U V^T, so that
M X^T -> (M M^T)^(1/2), whose trace is ||M||_*. (It is the coupled Newton-Schulz iteration for the square root
of the Gram matrix, Y = M X^T, written so that the Gram matrix of M, which squares its condition, is never
formed: Higham, Functions of Matrices, 2008, sections 6.3 and 8.3.) Small values grow by the factor a in each
step, 3/2 for the polynomial of degree 3 of Newton and Schulz. Here each step has the polynomial of degree 5
nearest to 1 on the interval in which the values are by then, found by Remez exchange (the best composition
there is: Amsel, Persson, Musco, Gower, "The Polar Express", arXiv 2505.16932): a is above 4 while values
are small, and the last steps converge cubically. The number of steps is fixed by the smallest value that has
to arrive, so the device is never waited for.

What came out is checked, not believed. With S = M X^T and E = M - S X, ||X|| <= 1 gives
tr S = <M, X> <= ||M||_* <= ||S||_* + sqrt(q) ||E||_F, and if the symmetric part of S plus a small shift has a
Cholesky factor, ||S||_* <= tr S + 2 q shift + sqrt(q) ||S - S^T||_F. The norm is given as tr S + <E, X> / 2,
which is right to second order in what X still lacks, with sqrt(q) (||E||_F + ||S - S^T||_F) + 2 q shift and
rounding as its bound. The shift makes up for rounding in X and sets the accuracy. A matrix for which this is
not enough is given to eigenvalues.
"""

import math
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from corrpo.strength.norms.rounding import UNIT, nuclear_by_gram

SMALLEST_VALUE = {torch.float32: 1e-8, torch.float64: 1e-14}
"""Relative to the Frobenius norm: singular values down to this arrive at 1, those of rounding too."""

ACCURACY = {torch.float32: 1e-3, torch.float64: 1e-6}
"""Norms whose relative error may be larger than this are taken from eigenvalues."""

_SHIFT = {torch.float32: 1e-6, torch.float64: 1e-13}
_CUSHION = 0.05


def nuclear_by_products(
    matrix: Float[Tensor, "n q p"], accuracy: float | None = None
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """||M||_* of each matrix by `newton_schulz`, or by eigenvalues in float64 where that is too far off.

    n norms and n bounds of their errors, float64; by default errors are up to `ACCURACY` of the dtype.
    """
    values, errors = newton_schulz(matrix)
    limit = ACCURACY[matrix.dtype] if accuracy is None else accuracy
    failed = (~(errors <= limit * values)).nonzero()[:, 0]
    if len(failed):
        values[failed], errors[failed] = nuclear_by_gram(matrix[failed].double())
    return values, errors


def newton_schulz(matrix: Float[Tensor, "n q p"]) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """||M||_* of each matrix by matrix products in its own dtype, and how far each may be off, float64.

    Nothing is read back from the device. A matrix whose values did not arrive has a large error, not a wrong
    norm.

    >>> values, errors = newton_schulz(torch.diag(torch.tensor([3.0, 4.0]))[None])
    >>> abs(values.item() - 7) <= errors.item() < 1e-4
    True
    """
    if matrix.shape[-2] > matrix.shape[-1]:
        matrix = matrix.mT
    dtype, side = matrix.dtype, matrix.shape[-2]
    largest = torch.maximum(matrix.amax((-2, -1)), -matrix.amin((-2, -1)))
    matrix = matrix / torch.where(largest > 0, largest, 1)[:, None, None]
    frobenius = torch.linalg.vector_norm(matrix, dim=(-2, -1)).clamp_min(1.0 / 2)
    matrix = matrix / frobenius[:, None, None]
    x = matrix
    for a, b, c in polynomials(SMALLEST_VALUE[dtype]):
        gram = x @ x.mT
        x = a * x + torch.baddbmm(b * gram, gram, gram, alpha=c) @ x
    root = matrix @ x.mT
    rest = matrix - root @ x
    trace = root.diagonal(dim1=-2, dim2=-1).sum(-1, dtype=torch.float64)
    values = trace + (x * rest).sum((-2, -1), dtype=torch.float64) / 2
    shift = _SHIFT[dtype]
    lifted = ((root + root.mT) / 2).double() + shift * torch.eye(side, dtype=torch.float64, device=x.device)
    unfit = torch.linalg.cholesky_ex(lifted).info != 0
    lost = sum(torch.linalg.vector_norm(y, dim=(-2, -1), dtype=torch.float64) for y in (rest, root - root.mT))
    errors = math.sqrt(side) * (lost + 16 * UNIT[dtype]) + 2 * side * shift
    errors = torch.where(unfit, math.inf, errors)
    scale = largest.double() * frobenius.double()
    return values * scale, errors * scale


@cache
def polynomials(smallest: float) -> tuple[tuple[float, float, float], ...]:
    """The steps (a, b, c) that take every value of [smallest, 1] to 1 within 1e-13 or so.

    Each is nearest to 1 on the upper part of the interval that the one before leaves, until the fixed
    polynomial (15, -10, 3) / 8, which converges cubically, is as good. On the whole interval the largest
    values would be sent next to 0, and rounding would change their sign; `_CUSHION` keeps them away from it.
    """
    low, high = smallest, 1.0
    steps = []
    while low < 0.9 * high:
        a, b, c = (
            x / 1.01**power
            for x, power in zip(nearest_to_one(max(low, _CUSHION * high), high), (1, 3, 5), strict=True)
        )
        steps.append((a, b, c))
        least = [x * (a + b * x**2 + c * x**4) for x in (low, max(low, _CUSHION * high), high)]
        low, high = min(least), 2 - min(least[1:])
    return (*steps, *[(15 / 8, -10 / 8, 3 / 8)] * 3)


def nearest_to_one(low: float, high: float) -> tuple[float, float, float]:
    """a x + b x^3 + c x^5 nearest to 1 on [low, high]: its error is equal and alternates at four points."""
    inner = (low + (high - low) / 4, low + 3 * (high - low) / 4)
    for _ in range(100):
        points = np.array([low, *inner, high])
        system = np.stack([points, points**3, points**5, [1, -1, 1, -1]], axis=1)
        a, b, c, _ = np.linalg.solve(system, np.ones(4))
        root = math.sqrt(9 * b * b - 20 * a * c)
        before, inner = inner, tuple(math.sqrt((-3 * b + sign * root) / (10 * c)) for sign in (-1, 1))
        if max(abs(x - y) for x, y in zip(inner, before, strict=True)) < 1e-14 * high:
            break
    return float(a), float(b), float(c)
