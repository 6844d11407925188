"""Norms of gradients that are given as products of two thin factors and never formed.

Their names and the checks of what a user asks for are here, without torch.
"""

from typing import Literal, get_args

from corrpo.errors import BadInputError

NormName = Literal["nuclear", "frobenius", "spectral", "l1"]
NORMS: tuple[str, ...] = get_args(NormName)


def check_norm(norm: str) -> None:
    """Raise `BadInputError` unless `norm` is one of `NORMS`."""
    if norm not in NORMS:
        raise BadInputError(f"norm {norm!r} is unknown; expected one of {', '.join(NORMS)}")


def check_tolerance(tolerance: float | None, norm: str = "nuclear") -> None:
    """Raise `BadInputError` unless `tolerance` is None, or within (0, 1) and of a nuclear norm."""
    if tolerance is not None and norm != "nuclear":
        raise BadInputError(
            f"tolerance={tolerance!r} with norm {norm!r}: only a nuclear norm takes a tolerance"
        )
    if tolerance is not None:
        check_relative_error(tolerance)


def check_relative_error(tolerance: float) -> None:
    """Raise `BadInputError` unless 0 < tolerance < 1."""
    if not 0 < tolerance < 1:
        raise BadInputError(
            f"tolerance={tolerance!r}: expected a relative error between 0 and 1, for example 0.01"
        )
