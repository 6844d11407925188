"""The estimators of a gradient's norm. The table of them is here, without torch.

Each is a module of its own, which defines the record `ESTIMATOR`; docs/how-to/add-an-estimator.md tells how
to add one.
"""

from typing import TYPE_CHECKING, Literal, get_args

from corrpo.errors import BadInputError, RecordTable, check_known

if TYPE_CHECKING:
    from corrpo.strength.estimators.estimator import Estimator

EstimatorName = Literal["reference", "exact", "pruned", "last", "own"]
ESTIMATORS = RecordTable(
    "estimator", "ESTIMATOR", {name: f"{__name__}.{name}" for name in get_args(EstimatorName)}
)
"""The module of each estimator, by name. A program can add a module of its own."""

DEFAULT_KEPT = 32
"""Positions that `pruned` keeps of each target, unless told."""


def check_kept(kept: int | None, estimator: str) -> None:
    """Raise `BadInputError` unless `kept` is None, or positive and of the estimator that prunes."""
    if kept is None:
        return
    if estimator != "pruned":
        raise BadInputError(
            f"kept={kept!r} with estimator {estimator!r}: only 'pruned' keeps some positions and drops others"
        )
    if kept < 1:
        raise BadInputError(
            f"kept={kept!r}: expected a number of positions, 1 or more; by default {DEFAULT_KEPT}"
        )


def estimator_named(name: str) -> "Estimator":
    """The record of an estimator; its module is imported when it is asked for.

    Raises:
        BadInputError: the name is unknown.
    """
    return ESTIMATORS.find(name)


def check_estimator(name: str) -> None:
    """Raise `BadInputError` unless `name` is one of `ESTIMATORS`."""
    check_known("estimator", name, ESTIMATORS)


def measures_last_layer_alone(name: object) -> bool:
    """Whether `name`, as files of results hold it, is of an estimator that measures the last layer alone."""
    return name in ESTIMATORS and estimator_named(str(name)).is_last_layer_alone
