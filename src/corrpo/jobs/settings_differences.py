"""Where the settings of a run differ from those of another, for the message that refuses or warns."""

from typing import Any


def differences_between(before: Any, now: Any, name: str = "") -> list[str]:
    """Where two JSON values differ, a line for each place.

    >>> differences_between({"seed": 0, "layers": None}, {"seed": 1, "layers": None})
    ['seed was 0, now 1']
    """
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [*before, *(key for key in now if key not in before)]
        return [
            line
            for key in keys
            for line in differences_between(
                before.get(key), now.get(key), f"{name}.{key}" if name else str(key)
            )
        ]
    return [] if before == now else [f"{name} was {before!r}, now {now!r}"]
