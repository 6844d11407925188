"""`exact`: one forward and batched vector-Jacobian products onto the projection outputs.

The derivative of one target at a projection's output, Delta, and the projection's input, A, give the
gradient Delta^T A, whose norm `spectra` takes without forming it. Targets are taken in groups of
neighbouring positions, the last group first; a group reads and differentiates only the prefix that its
targets depend on. `plan` tells how the model at hand is differentiated, `blocks` does it block by block. The
row factor of A found for the first, longest group serves the shorter ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from corrpo.models.memory import free_memory
from corrpo.strength.backward.blocks import Deltas
from corrpo.strength.backward.differentiation_plan import Plan, plan_for
from corrpo.strength.backward.query import Query
from corrpo.strength.norms import prefix_norms, second_factor

MEMORY_BUDGET = 2 << 30
"""Bytes that a pass may take on the CPU, beside the weights and the inputs of the blocks."""


def exact(query: Query) -> Tensor:
    """Norms [n, layers, projections] (float64), equal to `reference` but for rounding."""
    result = query.empty_result()
    plan = plan_for(query)
    factors = _Factors(query.norm, budget(query.input_ids.device))
    with plan.attention(query.model):
        for each in passes(query, plan):
            positions = query.positions[each.targets]
            prefixes = positions.tolist()
            for layer in plan.products(query, positions, each.prefix, each.keep):
                for kind, factor in enumerate(factors.of(layer)):
                    norms = prefix_norms(
                        layer.deltas[kind][:, 0], factor, prefixes, query.norm, query.tolerance
                    )
                    result[each.targets, layer.layer, kind] = norms.to(result.device)
    return result


@dataclass(frozen=True)
class Pass:
    """Targets taken back together.

    Attributes:
        targets: which of the query's, neighbours.
        prefix: how many tokens they need.
        keep: keep the graph of the whole forward pass, as there is room for it.
    """

    targets: slice
    prefix: int
    keep: bool


def passes(query: Query, plan: Plan) -> Iterator[Pass]:
    """All targets in passes, from the end of the sequence.

    A pass of m targets costs m backwards of its whole prefix s, which is m / 2 tokens longer than needed on
    average, and one forward, or two where the graph is made again: together (s + m / 2) (m + 1 or 2) a
    target, which is least for m = sqrt(2 s) or 2 sqrt(s). Memory may allow fewer.
    """
    room = budget(query.input_ids.device)
    blocks = len(query.layers) if plan.chain else 1
    end = len(query.positions)
    while end > 0:
        prefix = query.prefix(int(query.positions[end - 1]))
        keep = not plan.chain or plan.graph_bytes * prefix <= room // 2
        fitting = room // 2 // max(1, plan.graph_bytes * prefix // blocks)
        best = round((2 * prefix) ** 0.5 if keep else 2 * prefix**0.5)
        start = max(0, end - max(1, min(best, fitting)))
        yield Pass(slice(start, end), prefix, keep)
        end = start


def budget(device: torch.device) -> int:
    """Bytes for one pass: half of what is free on a GPU."""
    return free_memory(device) // 2 if device.type == "cuda" else MEMORY_BUDGET


class _Factors:
    """The second factors of the projections' inputs, kept from the longest pass as far as there is room."""

    def __init__(self, norm: str, room: int):
        self._norm = norm
        self._kept: dict[tuple[int, int], Tensor] = {}
        self._room = room

    def of(self, layer: Deltas) -> list[Tensor]:
        """One factor for each projection; projections that read one tensor share it."""
        made: dict[int, Tensor] = {}
        for kind, at in enumerate(layer.record):
            known = self._kept.get((layer.layer, kind))
            if id(at.inputs) not in made:
                made[id(at.inputs)] = (
                    second_factor(at.inputs[0].detach(), self._norm) if known is None else known
                )
            factor = made[id(at.inputs)]
            if known is None and self._room >= factor.nbytes:
                self._kept[layer.layer, kind] = factor
                self._room -= factor.nbytes
        return [made[id(at.inputs)] for at in layer.record]
