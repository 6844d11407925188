"""A norm that is not in the package, as a program or a fork would add one: its own module and record."""

from corrpo.strength.norms.norm import norm_of_singular_values

NORM = norm_of_singular_values(
    "schatten_half",
    "the square of the sum of the roots of the singular values",
    lambda values: values.sqrt().sum(-1).square(),
)
