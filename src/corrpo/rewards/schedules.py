"""Schedules: how lambda, the weight of the inversion reward, moves over a training run.

Each maps the progress of the run (0 at its start, 1 at its end; cut to that range) to a factor of lambda in
[0, 1]. A progress of NaN is a `BadInputError`.
"""

import math
from collections.abc import Callable

from corrpo.errors import BadInputError

_WARM = 0.1


def constant(progress: float) -> float:
    """1 throughout."""
    _cut(progress)
    return 1.0


def linear(progress: float) -> float:
    """From 1 to 0 in a straight line.

    >>> [linear(progress) for progress in (0.0, 0.25, 1.0, 7.0)]
    [1.0, 0.75, 0.0, 0.0]
    """
    return 1.0 - _cut(progress)


def cosine(progress: float) -> float:
    """From 1 to 0 along half a cosine: slow, fast, slow.

    >>> [round(cosine(progress), 3) for progress in (0.0, 0.25, 0.5, 1.0)]
    [1.0, 0.854, 0.5, 0.0]
    """
    return (1.0 + math.cos(math.pi * _cut(progress))) / 2.0


def warmup(progress: float) -> float:
    """From 0 to 1 in a straight line over the first tenth of the run, then 1.

    >>> [warmup(progress) for progress in (0.0, 0.05, 0.1, 1.0)]
    [0.0, 0.5, 1.0, 1.0]
    """
    return min(_cut(progress) / _WARM, 1.0)


def _cut(progress: float) -> float:
    if math.isnan(progress):
        raise BadInputError("progress is NaN; expected the part of the run that is done, 0 to 1")
    return min(max(progress, 0.0), 1.0)


SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": constant,
    "linear": linear,
    "cosine": cosine,
    "warmup": warmup,
}
"""Name of a schedule -> the schedule."""
