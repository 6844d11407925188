"""No control: the inversion reward itself.

Hypothesis: rewarding a rollout for the inversion in its own tokens makes a better reasoner.
"""

from jaxtyping import Float
from torch import Tensor

from corrpo.rewards.controls import Control
from corrpo.rewards.shapes import Shape


def none(rho: Float[Tensor, "groups size"], shape: Shape) -> Float[Tensor, "groups size"]:
    """c = -shape(rho), in [-1, 1]; NaN where rho is NaN.

    >>> import torch
    >>> none(torch.tensor([[-0.5, 0.25]]), torch.sin).round(decimals=2)
    tensor([[ 0.4800, -0.2500]])
    """
    return -shape(rho)


CONTROL = Control(
    formula="-shape(rho)",
    question="the method itself",
    arm="CorR-PO: GRPO with the inversion in the reward",
    reward=none,
)
