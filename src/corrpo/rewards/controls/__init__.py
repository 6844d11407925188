"""Controls: what takes the place of the inversion reward to learn what it was that worked (METHOD 7).

A control is `control(rho, shape, *, start, generator) -> c`: rho and c are [groups, size], a row for the
rollouts of one prompt, in the same dtype; c is NaN exactly where rho is, and nothing crosses rows. Those
that do not need the shape, the starting rho or the generator take and ignore them.

| control | c | what it tells |
| --- | --- | --- |
| none | -shape(rho) | the method itself |
| shuffle | the group's -shape(rho), dealt out at random | is it the information, or the spread? |
| negate | shape(rho) | is it the sign? |
| clamp | -|rho - start| | is it that rho falls, or that it is looked at? |
| constant | the group's mean -shape(rho), for all | is it anything but the level? |
"""

from typing import Protocol

import torch
from torch import Tensor

from corrpo.rewards.controls.clamp import clamp
from corrpo.rewards.controls.constant import constant
from corrpo.rewards.controls.negate import negate
from corrpo.rewards.controls.none import none
from corrpo.rewards.controls.shuffle import shuffle
from corrpo.rewards.shapes import Shape


class Control(Protocol):
    """The form of a control; see the module."""

    def __call__(
        self, rho: Tensor, shape: Shape, *, start: float | None, generator: torch.Generator | None
    ) -> Tensor:
        """The c of each rollout."""
        ...


CONTROLS: dict[str, Control] = {
    "none": none,
    "shuffle": shuffle,
    "negate": negate,
    "clamp": clamp,
    "constant": constant,
}
"""Name of a control -> the control."""
