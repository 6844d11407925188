"""Controls: what takes the place of the inversion reward to learn what it was that worked (METHOD 7).

A control NAME of `rewards.choices.ControlName` is the module NAME of this folder, which defines its record.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from corrpo.errors import RecordTable
from corrpo.rewards.choices import CONTROL_NAMES

CONTROLS = RecordTable("control", "CONTROL", {name: f"{__name__}.{name}" for name in CONTROL_NAMES})


@dataclass(frozen=True)
class Control:
    """One control.

    Attributes:
        formula: the c that a rollout gets, in one line.
        question: what a run with this control tells, in one line.
        arm: what an arm of an experiment with it is, in one line.
        reward: `reward(rho, shape, **needed) -> c`, where rho and c are [groups, size], a row for the
            rollouts of one prompt, in the same dtype; c is NaN exactly where rho is, and nothing crosses
            rows. `shape` is a function of `rewards.shapes`.
        needs: what else `reward` takes, by name: "start", the mean rho at the start of the run; "generator",
            a torch.Generator on the CPU, in the same state on every process.
    """

    formula: str
    question: str
    arm: str
    reward: Callable[..., Any]
    needs: tuple[Literal["start", "generator"], ...] = ()


def find_control(name: str) -> Control:
    """The control of a name.

    Raises:
        BadInputError: there is none; names those there are.

    >>> find_control("negate").formula
    'shape(rho)'
    """
    return CONTROLS.find(name)
