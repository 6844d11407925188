"""Norms of gradients that are given as products of two thin factors and never formed."""

from corrpo.strength.norms.certified import certified_nuclear_norm
from corrpo.strength.norms.matrix_norms import (
    NORMS,
    Norm,
    check_norm,
    check_tolerance,
    matrix_norm,
    prefix_norms,
    product_norm,
    rank_one_norm,
    row_factor,
    second_factor,
)
from corrpo.strength.norms.newton_schulz import nuclear_by_products

__all__ = [
    "NORMS",
    "Norm",
    "certified_nuclear_norm",
    "check_norm",
    "check_tolerance",
    "matrix_norm",
    "nuclear_by_products",
    "prefix_norms",
    "product_norm",
    "rank_one_norm",
    "row_factor",
    "second_factor",
]
