"""Strengths of whole gradients from their own-position parts: a regression that follows the policy.

`own` gives every token of a batch for the price of a forward and a backward pass, but only the part of its
gradient that arises at its own position. On pretrained models the strength of the whole follows from these
parts rather closely, layer by layer and projection by projection (METHOD 6, ours):

    log g_t = b + sum_{l,X} w_{l,X} log s^own_{X,l,t} + w_p log t

with t the token's position in the sequence. The coefficients are those of a ridge regression over the last
`WINDOW` tokens of training whose g_t was found by a backward pass of its own (`RolloutMeter.judge`), a few
in every batch. Token entropy is no part of it, so that rho cannot be made of entropy alone.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from corrpo.errors import DamagedFileError, first_line

WINDOW = 1024
"""Tokens that the regression is over: the latest."""
RIDGE = 30.0
"""The penalty of the squared coefficients, of columns that have a standard deviation of 1."""
_FLOOR = 1e-6


def own_features(
    norms: Float[Tensor, "tokens layers projections"], positions: Int[Tensor, " tokens"]
) -> Float[Tensor, "tokens features"]:
    """What the regression is on: the log of every own-position norm and of the position, float64.

    Norms below 1e-6 of the token's mean count as that much.

    >>> own_features(torch.tensor([[[1.0, 0.0]]]), torch.tensor([1])).exp()
    tensor([[1.0000e+00, 5.0000e-07, 1.0000e+00]], dtype=torch.float64)
    """
    norms = norms.double().flatten(1)
    floor = (_FLOOR * norms.mean(1, keepdim=True)).clamp_min(torch.finfo(torch.float64).tiny)
    return torch.cat([norms.maximum(floor).log(), positions.double()[:, None].log()], dim=1)


@dataclass
class StrengthFit:
    """The regression, and the tokens that it is over.

    Attributes:
        judged: float64 [tokens, features + 1] on the CPU, the latest last: `own_features` and log strength.

    >>> fit = StrengthFit(torch.tensor([[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]] * 100).double())
    >>> fit.strengths(torch.tensor([[0.0], [2.0]]).double()).log()
    tensor([0.1818, 3.8182], dtype=torch.float64)
    """

    judged: Float[Tensor, "tokens columns"] | None = None

    def add(self, judged: Float[Tensor, "tokens columns"]) -> None:
        """Take in tokens that were judged, and let the oldest go."""
        if not len(judged):
            return
        judged = judged.detach().double().cpu()
        known = judged if self.judged is None else torch.cat([self.judged, judged])
        self.judged = known[-WINDOW:]

    def strengths(self, features: Float[Tensor, "tokens features"]) -> Float[Tensor, " tokens"]:
        """The strengths that follow from `own_features`, float64 on their device; 0 where none was judged."""
        if self.judged is None:
            return features.new_zeros(len(features))
        known, strength = self.judged[:, :-1], self.judged[:, -1]
        centre, scale = known.mean(0), known.std(0, correction=0)
        scale = torch.where(scale > 0, scale, 1.0)
        columns = (known - centre) / scale
        system = columns.T @ columns + RIDGE * torch.eye(columns.shape[1], dtype=columns.dtype)
        weights = torch.linalg.solve(system, columns.T @ (strength - strength.mean())) / scale
        logs = (features - centre.to(features)) @ weights.to(features) + strength.mean().to(features)
        return logs.exp()

    def save(self, file: Path) -> None:
        """Write the tokens; nothing if there are none."""
        if self.judged is not None:
            save_file({"judged": self.judged.contiguous()}, file)

    @classmethod
    def load(cls, file: Path) -> "StrengthFit":
        """The tokens of a file that `save` wrote.

        Raises:
            DamagedFileError: it is not as it was written.
        """
        try:
            judged = load_file(file)["judged"]
        except (SafetensorError, OSError, KeyError) as error:
            raise _damaged(file, first_line(error)) from error
        if judged.dim() != 2 or not judged.isfinite().all():
            raise _damaged(file, "its numbers are not those of tokens")
        return cls(judged.double())


def _damaged(file: Path, why: str) -> DamagedFileError:
    return DamagedFileError(
        f"cannot read {file}: {why}; remove it, and the regression starts anew, or go on from another "
        "checkpoint"
    )
