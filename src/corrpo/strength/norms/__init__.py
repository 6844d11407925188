"""Norms of gradients that are given as products of two thin factors and never formed.

The table of norms is here, without torch: each is a module of its own, which defines the record `NORM`.
docs/how-to/add-a-norm.md tells how to add one.
"""

from typing import TYPE_CHECKING, Literal, get_args

from corrpo.errors import BadInputError, RecordTable, check_known

if TYPE_CHECKING:
    from corrpo.strength.norms.norm import Norm

NormName = Literal["nuclear", "frobenius", "spectral", "l1"]
NORMS = RecordTable("norm", "NORM", {name: f"{__name__}.{name}" for name in get_args(NormName)})
"""The module of each norm, by name. A program can add a module of its own, in every process that measures."""


def norm_named(name: str) -> "Norm":
    """The record of a norm; its module is imported when it is asked for.

    Raises:
        BadInputError: the name is unknown.
    """
    return NORMS.find(name)


def check_norm(name: str) -> None:
    """Raise `BadInputError` unless `name` is one of `NORMS`."""
    check_known("norm", name, NORMS)


def check_tolerance(tolerance: float | None, norm: str = "nuclear") -> None:
    """Raise `BadInputError` unless `tolerance` is None, or within (0, 1) and of a norm that takes one."""
    if tolerance is None:
        return
    if norm_named(norm).within_tolerance is None:
        takers = [name for name in NORMS if norm_named(name).within_tolerance is not None]
        raise BadInputError(
            f"tolerance={tolerance!r} with norm {norm!r}: only a {' or '.join(takers)} norm takes a tolerance"
        )
    check_relative_error(tolerance)


def check_relative_error(tolerance: float) -> None:
    """Raise `BadInputError` unless 0 < tolerance < 1."""
    if not 0 < tolerance < 1:
        raise BadInputError(
            f"tolerance={tolerance!r}: expected a relative error between 0 and 1, for example 0.01"
        )
