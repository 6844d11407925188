"""The inversion reward: from the rho of each rollout to the c_i that is added to its task reward.

    c_i  = -shape(rho_i)
    r~_i = r_i + lambda * c_i
    A_i  = (r~_i - mean r~) / (std r~ + eps)

CorR-PO (Yang et al., 2026, arXiv 2605.17770) embeds the inversion in the reward of group policy optimization;
the formulas of the paper are not at hand. Our readings of it, and our additions (METHOD 6):

1. rho_i is a rollout's own: the correlation over the tokens of that response alone, under the policy being
   trained as it stands when the rollouts are scored. It is data: no gradient flows through it.
2. A rollout that has no rho (too few tokens, constant entropy or strength) gets the mean c of the rollouts
   of its group that are inside the gate and have one, 0 if there is none. Beside those rollouts the mean is
   worth nothing and costs nothing, so having no rho is no advantage over them; but a rollout whose own c
   would have been below the mean is spared the difference. Count the rollouts without rho, and log lengths:
   among responses that are long enough, a shorter one can still have a lower rho.
3. A gate is a factor of 1 or 0: outside of it c_i = 0. So the gate does not only choose whom the reward
   reaches: the size of c itself then tells open from closed. With gate "correct" and rhos above 0, c < 0
   inside, and correct rollouts lose lambda * rho that incorrect ones keep; with rhos below 0 they gain it, as
   if accuracy weighed more. With shape "relu" they never lose, and control "constant" has this effect of the
   gate alone.
4. A control replaces c before the mean is filled in and before the gate closes: "shuffle" deals out the
   rewards of the whole group, and those dealt to rollouts outside the gate are dropped.
5. Shapes other than the identity, gates, schedules of lambda, and controls are ours.

What the scaling of advantages does to lambda, in TRL and elsewhere. With `scale_rewards="group"`, a group
whose accuracies are all equal (all solved, or none) has std r~ = |lambda| std c, and lambda cancels:

    A_i = sign(lambda) (c_i - mean c) / std c    as long as |lambda| std c is well above eps = 1e-4

At std c = 0.1 a weight of 0.01 acts there at 91% of full strength; in a group whose accuracies differ, in its
proportion, about |lambda| std c / std r. With "batch" the scale is that of all groups together, with "none"
there is none, and lambda means the same in every group. `multi_objective_aggregation="normalize_then_sum"`
divides c by its own std within each group, however little it varies, before lambda is applied.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from corrpo.errors import BadInputError, check_known
from corrpo.rewards.controls import find_control
from corrpo.rewards.controls.constant import group_mean
from corrpo.rewards.gates import GATES
from corrpo.rewards.shapes import SHAPES


def inversion_reward(
    rho: Float[Tensor, " n"],
    *,
    group_size: int,
    shape: str = "identity",
    control: str = "none",
    gate: str = "all",
    task: Float[Tensor, " n"] | None = None,
    start: float | None = None,
    generator: torch.Generator | None = None,
) -> Float[Tensor, " n"]:
    """The inversion reward c of each rollout, before the weight lambda; see the module for the formulas.

    Args:
        rho: each rollout's correlation, in [-1, 1], NaN for none (`rollout_correlation`); the rollouts of one
            prompt stand together.
        group_size: rollouts per prompt.
        shape: "identity", "relu" or "fisher".
        control: "none", the reward itself, or what is put in its place: "shuffle", "negate", "clamp" or
            "constant".
        gate: "all", "correct" or "incorrect": the rollouts that get it; the others get 0.
        task: the verifier's reward of each rollout, NaN for unscorable, on the device of `rho`; above 0.5 is
            correct. Every gate but "all" needs it.
        start: the mean rho at the start of the run, for control "clamp".
        generator: for control "shuffle", on the CPU; it moves on by n draws per call, whatever the gate.

    Returns:
        float32 [n] on the device of `rho`, never NaN, in [-1, 1]; in [-2, 0] with control "clamp".

    Raises:
        BadInputError: a name that is not known, a rho outside [-1, 1], n that is not a multiple of
            `group_size`, or a gate or control without what it needs.

    >>> rho = torch.tensor([-0.5, 0.25, torch.nan, -0.25])
    >>> inversion_reward(rho, group_size=2)
    tensor([ 0.5000, -0.2500,  0.2500,  0.2500])
    >>> inversion_reward(rho, group_size=4, gate="correct", task=torch.tensor([1.0, 0.0, 1.0, 1.0]))
    tensor([0.5000, 0.0000, 0.3750, 0.2500])
    """
    record = find_control(control)
    check_known("shape", shape, SHAPES)
    check_known("gate", gate, GATES)
    _check_rollouts(rho, group_size)
    grouped = rho.detach().double().reshape(len(rho) // group_size, group_size)
    inside = _inside(gate, task, rho).reshape(grouped.shape)
    given = {"start": start, "generator": generator}
    c = record.reward(grouped, SHAPES[shape], **{name: given[name] for name in record.needs})
    c = c.where(~c.isnan(), group_mean(c, inside & ~c.isnan()))
    return c.where(inside, 0.0).flatten().float()


def _inside(gate: str, task: Tensor | None, rho: Tensor) -> Tensor:
    """Bool [n]: the rollouts that the gate lets through."""
    if task is None:
        if gate != "all":
            raise BadInputError(
                f"gate {gate!r} needs task, the verifier's reward of each rollout; give it, or use gate 'all'"
            )
        task = torch.full_like(rho, math.nan)
    if task.shape != rho.shape:
        raise BadInputError(
            f"task has shape {tuple(task.shape)}; expected one reward per rollout, as rho {tuple(rho.shape)}"
        )
    return GATES[gate](task)


def _check_rollouts(rho: Tensor, group_size: int) -> None:
    if rho.dim() != 1:
        raise BadInputError(f"rho has shape {tuple(rho.shape)}; expected [n], a number per rollout")
    if group_size < 1 or len(rho) % group_size:
        raise BadInputError(
            f"{len(rho)} rollouts with group_size={group_size}: expected a positive group_size that "
            "divides the number of rollouts"
        )
    outside = (rho.abs() > 1).nonzero()
    if len(outside):
        first = int(outside[0])
        raise BadInputError(
            f"rho[{first}] is {rho[first].item():g}; expected correlations from -1 to 1, NaN for none"
        )
