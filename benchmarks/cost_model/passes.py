"""The estimators' own rules of passes, applied to shapes: how `exact` takes targets together, and when `own`
runs block by block.
"""

from collections.abc import Sequence

from corrpo.strength.estimators.passes import Pass, has_room_for_graph, passes_by_target
from cost_model.model_shape import Block, ModelShape

CPU_BUDGET = 2 << 30
"""Bytes that a pass of `exact` may take on the CPU; on a GPU it is half of what is free."""
WIDE = 4
"""Bytes of a norm's input and of an attention weight, which are float32 whatever the model's dtype."""


def graph_bytes(shape: ModelShape, block: Block, element: float) -> float:
    """Bytes that autograd keeps of one token in one block.

    The inputs of two norms in float32, and gate, its activation and up; of each routed expert what it reads
    and writes.
    """
    inner = 3 * block.inner + 2 * block.chosen * shape.hidden
    return 2 * shape.hidden * WIDE + inner * element


def own_by_blocks(shape: ModelShape, length: int, budget: float, element: float) -> bool:
    """Whether `own` makes the graph of one block at a time, over `length` tokens.

    Args:
        shape: of the whole model, whose graph is what counts however few layers are measured.
        length: tokens of the prefix.
        budget: bytes that the graph of all blocks may take: half of what is free.
        element: bytes of an activation.
    """
    of_token = sum(graph_bytes(shape, block, element) for block in shape.blocks)
    return not has_room_for_graph(of_token * length, 2 * budget)


def exact_passes(
    shape: ModelShape,
    positions: Sequence[int],
    budget: float = CPU_BUDGET,
    element: float = 4.0,
    layers: int | None = None,
) -> list[Pass]:
    """The passes over the targets at `positions`, the last targets first.

    The graph of a token is counted over all blocks of the model, and shared among the measured ones.

    Args:
        shape: of the whole model.
        positions: ascending.
        budget: bytes that a pass may take beside the weights and the inputs of the blocks.
        element: bytes of an activation.
        layers: how many upper layers are measured; all for None.
    """
    of_token = sum(graph_bytes(shape, block, element) for block in shape.blocks)
    return passes_by_target(
        positions,
        lambda position: position,
        graph_bytes=lambda prefix: of_token * prefix,
        blocks=len(shape.upper(layers).blocks),
        room=budget,
    )
