"""The rewards of a group dealt out among its rollouts at random.

Hypothesis: the information matters. The rewards of every group have the same distribution as the real ones,
so they add the same noise to the advantages and meet the same scaling; but they say nothing about the rollout
that gets them. If this helps as much, the gain came from noise (random rewards alone have raised benchmark
scores: arXiv 2506.10947). rho must not move.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from corrpo.errors import BadInputError
from corrpo.rewards.controls import Control
from corrpo.rewards.shapes import Shape


def shuffle(
    rho: Float[Tensor, "groups size"], shape: Shape, *, generator: torch.Generator | None
) -> Float[Tensor, "groups size"]:
    """c = -shape of the group's rhos, permuted uniformly among the rollouts that have one; NaN stays.

    Args:
        rho: each rollout's.
        shape: as in `none`.
        generator: on the CPU, whatever the device of `rho`. Groups x size numbers are drawn from it whatever
            `rho` holds, so processes with equal generators and equal batches deal alike.

    Raises:
        BadInputError: `generator` is missing or not on the CPU.

    >>> rho = torch.tensor([[0.1, torch.nan, 0.3, 0.5]])
    >>> c = shuffle(rho, torch.clone, generator=torch.Generator().manual_seed(0))
    >>> c.isnan().tolist(), sorted(c[0, [0, 2, 3]].tolist()) == sorted((-rho)[0, [0, 2, 3]].tolist())
    ([[False, True, False, False]], True)
    """
    if generator is None or generator.device.type != "cpu":
        raise BadInputError(
            f"generator={generator}: control 'shuffle' needs a torch.Generator on the CPU, in the same "
            "state on every process"
        )
    draws = torch.rand(rho.shape, generator=generator, dtype=torch.float64).to(rho.device)
    absent = rho.isnan()
    seats = absent.long().argsort(dim=1, stable=True)
    dealt = draws.masked_fill(absent, 2.0).argsort(dim=1, stable=True)
    c = -shape(rho)
    return torch.empty_like(c).scatter(1, seats, c.gather(1, dealt))


CONTROL = Control(
    formula="the group's -shape(rho), dealt out at random",
    question="is it the information, or the spread?",
    arm="CorR-PO with rho shuffled within the group",
    reward=shuffle,
    needs=("generator",),
)
