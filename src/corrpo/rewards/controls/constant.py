"""The same reward for every rollout of a group: its mean.

Hypothesis: what matters is that the rollouts of a prompt are told apart. This term has the level of the real
one but neither information nor variance: under gate "all" it must train like lambda = 0, up to rounding.
Under another gate it tells rollouts inside from rollouts outside and nothing else: of the real term's effect,
the part that is the gate's.
"""

import math

from jaxtyping import Bool, Float
from torch import Tensor

from corrpo.rewards.controls import Control
from corrpo.rewards.shapes import Shape


def constant(rho: Float[Tensor, "groups size"], shape: Shape) -> Float[Tensor, "groups size"]:
    """c = the group's mean -shape(rho), in [-1, 1]; NaN where rho is.

    >>> import torch
    >>> constant(torch.tensor([[-0.5, torch.nan, 0.25]]), torch.clone)
    tensor([[0.1250,    nan, 0.1250]])
    """
    c = -shape(rho)
    has_rho = ~rho.isnan()
    return group_mean(c, has_rho).expand_as(c).where(has_rho, math.nan)


def group_mean(
    values: Float[Tensor, "groups size"], among: Bool[Tensor, "groups size"]
) -> Float[Tensor, "groups 1"]:
    """Mean of each row where `among` is True; 0 for a row where it nowhere is.

    It lies between the least and the greatest of its values in spite of rounding, so the mean of equal values
    is that value.

    >>> import torch
    >>> among = torch.tensor([[True, True, False], [False, False, False]])
    >>> group_mean(torch.tensor([[1.0, 2.0, 6.0], [1.0, 1.0, 1.0]]), among)
    tensor([[1.5000],
            [0.0000]])
    """
    count = among.sum(1, keepdim=True)
    mean = values.where(among, 0.0).sum(1, keepdim=True) / count.clamp(min=1)
    low = values.where(among, math.inf).amin(1, keepdim=True)
    high = values.where(among, -math.inf).amax(1, keepdim=True)
    return mean.clamp(low, high).where(count > 0, 0.0)


CONTROL = Control(
    formula="the group's mean -shape(rho), for all",
    question="is it anything but the level?",
    arm="CorR-PO with the same reward for all rollouts",
    reward=constant,
)
