"""Shapes: what the inversion reward makes of a rho before its sign is turned, c = -shape(rho) (METHOD 6).

Each maps [-1, 1] into [-1, 1], elementwise, in the dtype it is given, is nowhere decreasing, and passes NaN
(no rho) through.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Shape = Callable[[Tensor], Tensor]
"""An elementwise function of rho."""

_FISHER_LIMIT = 3.0


def identity(rho: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """rho itself."""
    return rho


def relu(rho: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """min(rho, 0): inversion is rewarded, and a positive rho is never punished.

    >>> relu(torch.tensor([-0.5, 0.5]))
    tensor([-0.5000,  0.0000])
    """
    return rho.clamp(max=0.0)


def fisher(rho: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """atanh(rho) / 3, Fisher's z, cut to [-1, 1] (reached at |rho| = tanh 3 = 0.995).

    Equal steps are equally hard to tell from noise wherever rho lies: the variance of z does not depend on
    rho (Fisher 1921). Near 0 it is a third of `identity`.

    >>> fisher(torch.tensor([-1.0, 0.0, 0.9])).round(decimals=3)
    tensor([-1.0000,  0.0000,  0.4910])
    """
    return (torch.atanh(rho) / _FISHER_LIMIT).clamp(-1.0, 1.0)


SHAPES: dict[str, Shape] = {"identity": identity, "relu": relu, "fisher": fisher}
"""Name of a shape -> the shape."""
