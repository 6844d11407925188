"""Checks of the reward functions of a trainer before any training: names, weights, columns they need."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from trl.trainer.utils import get_callable_name

from corrpo.errors import BadInputError

_GIVEN_BY_TRL = {
    "prompts",
    "completions",
    "completion_ids",
    "trainer_state",
    "log_extra",
    "log_metric",
    "environments",
}
_NEVER_GIVEN = {"prompt": "prompts", "completion": "completions"}
"""Columns that TRL keeps from reward functions, and what it gives them in their place."""


def check_names_and_weights(tasks: Sequence[Any], weights: Sequence[float] | None) -> None:
    """Refuse a reward function that is called as our column is, and weights that are not one for each."""
    if "inversion" in map(get_callable_name, tasks):
        raise BadInputError(
            "a reward function is called 'inversion', which is the name of our reward's column; rename it"
        )
    if weights is not None and len(weights) != len(tasks):
        raise BadInputError(
            f"reward_weights={weights} has {len(weights)} weights for {len(tasks)} reward functions; give "
            "one each, and the weight of the inversion reward as inversion_weight"
        )


def check_columns(which: str, data: Any, tasks: Sequence[Any]) -> None:
    """Refuse a dataset of images, or one without a column that a reward function needs.

    One that does not know its columns is not checked; `which` is the trainer's argument in the message.
    """
    sets = data if isinstance(data, dict) else {"": data}
    for name, dataset in sets.items():
        columns = getattr(dataset, "column_names", None)
        if columns is None:
            continue
        title = f"{which}[{name!r}]" if name else which
        if {"image", "images"} & set(columns):
            raise BadInputError(f"{title} holds images, which corrpo does not measure; train on text prompts")
        for task in tasks:
            for column in sorted(_needed_columns(task) & set(_NEVER_GIVEN)):
                raise BadInputError(
                    f"the reward function {getattr(task, '__name__', task)!r} takes {column!r}, which TRL "
                    f"does not give; it gives {_NEVER_GIVEN[column]!r}"
                )
            missing = sorted(_needed_columns(task) - set(columns))
            if missing:
                raise BadInputError(
                    f"{title} has no column {missing[0]!r}, which the reward function "
                    f"{getattr(task, '__name__', task)!r} needs; its columns are {', '.join(columns)}: "
                    f"rename the one that holds it (dataset.rename_column), or leave the reward function out"
                )


def _needed_columns(task: Any) -> set[str]:
    """Parameters of a reward function without a default that TRL does not give itself."""
    if isinstance(task, str | torch.nn.Module) or not callable(task):
        return set()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(task).parameters.values()
    return {p.name for p in parameters if p.kind in named and p.default is p.empty} - _GIVEN_BY_TRL
