"""Which rows of a verl batch are the rollouts of one prompt.

A row is one output of an agent loop, with the key `{uid}_{session}_{output}`: the uid is the prompt's, a
session is a rollout, and of its outputs verl rewards the last. Batches are reordered and filled up with
padding, and a failed session leaves its group smaller than the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class RolloutGroups:
    """The rollouts of a batch, by prompt.

    Attributes:
        rows: the row of each rollout's last output; -1 where a group has fewer rollouts than the largest.
        rollout_of_row: each row's place among the rollouts of `rows`, read row by row; -1 for padding.
    """

    rows: Int[Tensor, "groups size"]
    rollout_of_row: Int[Tensor, " rows"]

    @property
    def present(self) -> Bool[Tensor, "groups size"]:
        """Where there is a rollout."""
        return self.rows >= 0

    def gather(self, values: Tensor) -> Tensor:
        """From [rows, ...] the values of all places [rollouts, ...], NaN where there is no rollout."""
        gathered = values[self.rows.clamp(min=0).flatten()].clone()
        gathered[~self.present.flatten()] = torch.nan
        return gathered

    def spread(self, values: Float[Tensor, " rollouts"]) -> Float[Tensor, " rows"]:
        """The value of each row's rollout, 0 for padding."""
        return torch.cat([values, values.new_zeros(1)])[self.rollout_of_row]


def rollout_groups(keys: Sequence[str], is_padding: Sequence[bool | int]) -> RolloutGroups:
    """Group the rows of a batch by prompt, prompts in the order of their first rows, rollouts by session.

    >>> groups = rollout_groups(["b_0_0", "a_1_0", "p_0_0", "a_0_1", "a_0_0"], [0, 0, 1, 0, 0])
    >>> groups.rows.tolist(), groups.rollout_of_row.tolist()
    ([[0, -1], [3, 1]], [0, 3, -1, 2, 2])
    """
    prompts: dict[str, dict[int, tuple[int, int]]] = {}
    for row, key in enumerate(keys):
        if not is_padding[row]:
            uid, session, output = key.rsplit("_", 2)
            sessions = prompts.setdefault(uid, {})
            sessions[int(session)] = max(sessions.get(int(session), (-1, -1)), (int(output), row))
    rows = torch.full((len(prompts), max(map(len, prompts.values()), default=0)), -1)
    places: dict[tuple[str, int], int] = {}
    for group, (uid, sessions) in enumerate(prompts.items()):
        for seat, session in enumerate(sorted(sessions)):
            rows[group, seat] = sessions[session][1]
            places[uid, session] = group * rows.shape[1] + seat
    split = [key.rsplit("_", 2) for key in keys]
    return RolloutGroups(
        rows, torch.tensor([places.get((uid, int(session)), -1) for uid, session, _ in split])
    )
