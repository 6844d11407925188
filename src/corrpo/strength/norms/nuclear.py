"""The nuclear norm, the paper's: the sum of the singular values.

On a GPU, where eigenvalues are slow, it comes from matrix products alone (`newton_schulz`), and with a
tolerance from a low rank (`certified`).
"""

from dataclasses import replace

from torch import Tensor

from corrpo.strength.norms.certified import certified_nuclear_norm
from corrpo.strength.norms.newton_schulz import nuclear_by_products
from corrpo.strength.norms.norm import gram_singular_values, norm_of_singular_values, small_product

_PRODUCTS_SIDE = 128


def _of_product(delta: Tensor, factor: Tensor) -> Tensor:
    small = small_product(delta, factor)
    return nuclear_by_products(small)[0] if _by_products(small) else gram_singular_values(small).sum(-1)


def _by_products(small: Tensor) -> bool:
    """Whether matrix products alone are quicker than eigenvalues: on a GPU, for matrices that fill it."""
    return small.device.type == "cuda" and min(small.shape[-2:]) >= _PRODUCTS_SIDE


NORM = replace(
    norm_of_singular_values("nuclear", "the sum of the singular values", lambda values: values.sum(-1)),
    of_product=_of_product,
    within_tolerance=certified_nuclear_norm,
)
