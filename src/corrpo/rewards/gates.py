"""Gates: which rollouts the inversion reward is given to, judged by the reward of the task's verifier.

A rollout whose task reward is NaN could not be scored: it is neither correct nor incorrect.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_CORRECT = 0.5


def everyone(task: Float[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Every rollout, scored or not."""
    return torch.ones_like(task, dtype=torch.bool)


def correct(task: Float[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Rollouts with a task reward above 0.5.

    >>> correct(torch.tensor([1.0, 0.5, 0.0, torch.nan]))
    tensor([ True, False, False, False])
    """
    return task > _CORRECT


def incorrect(task: Float[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Rollouts with a task reward of 0.5 or less.

    >>> incorrect(torch.tensor([1.0, 0.5, 0.0, torch.nan]))
    tensor([False,  True,  True, False])
    """
    return task <= _CORRECT


GATES: dict[str, Callable[[Tensor], Tensor]] = {
    "all": everyone,
    "correct": correct,
    "incorrect": incorrect,
}
"""Name of a gate -> the gate."""
