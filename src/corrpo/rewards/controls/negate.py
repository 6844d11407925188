"""The sign turned: lambda < 0.

Hypothesis: the direction matters. If punishing inversion helps as much as rewarding it, the gain comes from
having one more reward that varies, not from inversion. It must also move rho the other way; if it does not,
the reward does not act on rho at all.
"""

from jaxtyping import Float
from torch import Tensor

from corrpo.rewards.controls import Control
from corrpo.rewards.shapes import Shape


def negate(rho: Float[Tensor, "groups size"], shape: Shape) -> Float[Tensor, "groups size"]:
    """c = shape(rho), in [-1, 1]; NaN where rho is NaN.

    >>> import torch
    >>> negate(torch.tensor([[-0.5, 0.25]]), torch.sin).round(decimals=2)
    tensor([[-0.4800,  0.2500]])
    """
    return shape(rho)


CONTROL = Control(
    formula="shape(rho)",
    question="is it the sign?",
    arm="CorR-PO that rewards the opposite of inversion",
    reward=negate,
)
