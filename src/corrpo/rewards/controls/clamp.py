"""rho held where it was at the start of the run.

Hypothesis: inversion is needed for the gain. If accuracy rises as much while rho may not move, inversion goes
with reasoning at most and does not bring it about. The reward is as informative about rho as the real one and
costs as much; only the direction it pulls in is taken away.
"""

from jaxtyping import Float
from torch import Tensor

from corrpo.errors import BadInputError
from corrpo.rewards.controls import Control
from corrpo.rewards.shapes import Shape


def clamp(
    rho: Float[Tensor, "groups size"], shape: Shape, *, start: float | None
) -> Float[Tensor, "groups size"]:
    """c = -|rho - start| (METHOD 7), in [-2, 0]; NaN where rho is NaN.

    Args:
        rho: each rollout's.
        shape: not used: the distance is in rho itself.
        start: the mean rho of the run's first rollouts, in [-1, 1].

    Raises:
        BadInputError: `start` is missing or outside [-1, 1].

    >>> import torch
    >>> clamp(torch.tensor([[-0.5, 0.25]]), torch.sin, start=0.25)
    tensor([[-0.7500, -0.0000]])
    """
    if start is None or not -1.0 <= start <= 1.0:
        raise BadInputError(
            f"start={start}: control 'clamp' needs the mean rho at the start of the run, from -1 to 1"
        )
    return -(rho - start).abs()


CONTROL = Control(
    formula="-|rho - start|",
    question="is it that rho falls, or that it is looked at?",
    arm="CorR-PO that holds rho at its start",
    reward=clamp,
    needs=("start",),
)
