"""Checks of the settings of intervals and p-values, without numpy."""

from numbers import Integral

from corrpo.errors import BadInputError


def check_settings(confidence: float, **counts: int) -> None:
    """Raise BadInputError unless `confidence` is in (0, 1) and each count is an int, 0 or at least 2."""
    if not 0 < confidence < 1:
        raise BadInputError(f"confidence must lie between 0 and 1, such as 0.95, not {confidence!r}")
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, Integral) or count < 0 or count == 1:
            raise BadInputError(f"{name} must be a whole number from 2, or 0 for none, not {count!r}")
