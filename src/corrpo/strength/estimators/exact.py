"""`exact`: one forward and batched vector-Jacobian products onto the projection outputs.

The derivative of one target at a projection's output, Delta, and the projection's input, A, give the
gradient Delta^T A, whose norm `norms.factored` takes without forming it. Targets are taken in groups of
neighbouring positions, the last group first; a group reads and differentiates only the prefix that its
targets depend on. `plan` tells how the model at hand is differentiated, `blocks` does it block by block. The
row factor of A found for the first, longest group serves the shorter ones.
"""

import torch
from torch import Tensor

from corrpo.models.memory import free_memory
from corrpo.strength.derivatives.block_chain import Deltas
from corrpo.strength.derivatives.differentiation_plan import plan_for
from corrpo.strength.derivatives.request import GradientRequest
from corrpo.strength.estimators.estimator import Estimator
from corrpo.strength.estimators.misfits import misfit_of_observed_outputs
from corrpo.strength.estimators.passes import Pass, passes_by_target
from corrpo.strength.norms.factored import prefix_norms, second_factor

MEMORY_BUDGET = 2 << 30
"""Bytes that a pass may take on the CPU, beside the weights and the inputs of the blocks."""


def exact_norms(request: GradientRequest) -> Tensor:
    """Norms [n, layers, projections] (float64), equal to `reference` but for rounding."""
    result = request.empty_result()
    plan = plan_for(request)
    factors = _Factors(request.spec.norm, budget(request.input_ids.device))
    with plan.attention(request.model):
        for part in passes(request):
            positions = request.positions[part.targets]
            prefixes = positions.tolist()
            for layer in plan.products(request, positions, part.prefix, part.keeps_graph):
                for kind, factor in enumerate(factors.of(layer)):
                    norms = prefix_norms(
                        layer.deltas[kind][:, 0], factor, prefixes, request.spec.norm, request.spec.tolerance
                    )
                    result[part.targets, layer.layer, kind] = norms.to(result.device)
    return result


def passes(request: GradientRequest) -> list[Pass]:
    """All targets in passes, as memory allows; see `passes_by_target`."""
    plan = plan_for(request)
    return passes_by_target(
        request.positions.tolist(),
        request.prefix,
        graph_bytes=plan.graph_bytes,
        blocks=len(request.layers),
        room=budget(request.input_ids.device),
        by_blocks=plan.chain,
    )


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
            source = id(at.inputs)
            if source in made:
                continue
            factor = self._kept.get((layer.layer, kind))
            if factor is None:
                factor = second_factor(at.inputs[0].detach(), self._norm)
                if self._room >= factor.nbytes:
                    self._kept[layer.layer, kind] = factor
                    self._room -= factor.nbytes
            made[source] = factor
        return [made[id(at.inputs)] for at in layer.record]


ESTIMATOR = Estimator(
    name="exact",
    label="exact",
    summary="the gradients of all measured layers, equal to one backward pass per token up to floating-point "
    "rounding.",
    norms=exact_norms,
    passes=passes,
    misfit=misfit_of_observed_outputs,
    is_exact=True,
)
