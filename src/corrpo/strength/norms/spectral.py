"""The spectral norm: the largest singular value."""

from corrpo.strength.norms.norm import norm_of_singular_values

NORM = norm_of_singular_values("spectral", "the largest singular value", lambda values: values.amax(-1))
