"""`exact`: one forward and batched vector-Jacobian products onto the projection outputs.

The derivative of one target at a projection's output, Delta, and the projection's input, A, give the
gradient Delta^T A, whose norm `spectra` takes without forming it. Targets are taken in groups of
neighbouring positions, the last group first; a group reads and differentiates only the prefix that its
targets depend on. The row factor of A found for the first, longest group serves the shorter ones.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from corrpo.errors import UnsupportedModelError
from corrpo.estimators.query import (
    Observed,
    Query,
    attention_backend,
    derivatives_at,
    observed,
    target_scores,
)
from corrpo.spectra import prefix_norms, second_factor

MEMORY_BUDGET = 2 << 30
MAX_TARGETS_PER_PASS = 16


def exact(query: Query) -> Tensor:
    """Norms [n, layers, projections] (float64), equal to `reference` but for rounding."""
    result = query.empty_result()
    factors: dict[int, Tensor] = {}
    with attention_backend(query.model, "eager", "exact", "'reference'"):
        for group, prefix in groups(query):
            _measure_group(query, group, prefix, factors, result)
    return result


def groups(query: Query) -> Iterator[tuple[slice, int]]:
    """Neighbouring targets taken together and the prefix they need, from the end of the sequence."""
    end = len(query.positions)
    while end > 0:
        prefix = int(query.positions[end - 1])
        start = max(0, end - targets_per_pass(query, prefix))
        yield slice(start, end), prefix
        end = start


def _measure_group(
    query: Query, group: slice, prefix: int, factors: dict[int, Tensor], result: Tensor
) -> None:
    """Write the norms of the targets in `group`, all predicted within the first `prefix` tokens."""
    record, deltas = vector_jacobian_products(query, query.positions[group], prefix)
    prefixes = query.positions[group].tolist()
    for slot, delta in enumerate(deltas):
        layer, kind = divmod(slot, len(query.projections))
        if slot not in factors:
            factors[slot] = _factor_once(record, factors, slot, query.norm)
        result[group, layer, kind] = prefix_norms(delta[:, 0], factors[slot], prefixes, query.norm)


def _factor_once(record: list[Observed], factors: dict[int, Tensor], slot: int, norm: str) -> Tensor:
    """The second factor of a projection's input; Q, K and V of a layer read one tensor and share it."""
    inputs = record[slot].inputs
    for other in range(slot):
        if record[other].inputs is inputs and other in factors:
            return factors[other]
    return second_factor(inputs[0].detach(), norm)


def vector_jacobian_products(
    query: Query, positions: Tensor, prefix: int
) -> tuple[list[Observed], list[Tensor]]:
    """Forward of `prefix` tokens and the derivatives of the targets at every measured projection output.

    Returns:
        What every projection read and wrote, and for each the derivatives [m, 1, prefix, d_out].
    """
    with observed(query.layers, query.projections) as record:
        scores = target_scores(query, positions, prefix)
    one_each = torch.eye(len(positions), dtype=scores.dtype, device=scores.device)
    try:
        deltas = derivatives_at(
            record, lambda outputs: torch.autograd.grad(scores, outputs, one_each, is_grads_batched=True)
        )
    except RuntimeError as error:
        if "vmap" not in str(error):
            raise
        raise UnsupportedModelError(
            f"estimator 'exact' differentiates many targets at once, which an operation of "
            f"{type(query.model).__name__} does not allow ({error}); use 'reference'"
        ) from error
    return record, deltas


def targets_per_pass(query: Query, prefix: int) -> int:
    """How many targets are differentiated at once: as many as `MEMORY_BUDGET` holds, at most 16.

    Beyond 16 the matrix products are large enough, and only memory grows.
    """
    config = query.model.config.get_text_config()  # type: ignore[union-attr]
    width = sum(
        getattr(layer.projections[kind].module, "out_features", config.hidden_size)
        for layer in query.layers
        for kind in query.projections
    )
    in_flight = 8 * config.hidden_size + 4 * getattr(config, "intermediate_size", 4 * config.hidden_size)
    scores = 4 * getattr(config, "num_attention_heads", 0) * prefix
    bytes_per_target = 4 * prefix * (width + in_flight + scores)
    return max(1, min(MAX_TARGETS_PER_PASS, MEMORY_BUDGET // bytes_per_target))
