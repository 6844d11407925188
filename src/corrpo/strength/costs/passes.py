"""How `exact` takes targets together and when `own` runs block by block: their rules, from shapes.

A pass of m targets over a prefix of s tokens costs m backwards, and one forward where there is room for the
graph of all blocks or two where each block's is made again. That is least for m = sqrt(2 s) or 2 sqrt(s);
memory may allow fewer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from corrpo.strength.costs.model_shape import Block, ModelShape

CPU_BUDGET = 2 << 30
"""Bytes that a pass of `exact` may take on the CPU; on a GPU it is half of what is free."""
WIDE = 4
"""Bytes of a norm's input and of an attention weight, which are float32 whatever the model's dtype."""


@dataclass(frozen=True)
class Pass:
    """Targets taken back together.

    Attributes:
        positions: of the targets, ascending; the last is the length of the prefix.
        keep: whether the graph of all blocks is kept from one forward pass.
    """

    positions: tuple[int, ...]
    keep: bool

    @property
    def length(self) -> int:
        """Tokens of the prefix."""
        return self.positions[-1]


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
    return sum(graph_bytes(shape, block, element) for block in shape.blocks) * length > budget


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
    found = []
    end = len(positions)
    while end > 0:
        length = positions[end - 1]
        keep = of_token * length <= budget / 2
        fitting = int(budget / 2 / (of_token * length / len(shape.upper(layers).blocks)))
        best = round((2 * length) ** 0.5 if keep else 2 * length**0.5)
        start = max(0, end - max(1, min(best, fitting)))
        found.append(Pass(tuple(positions[start:end]), keep))
        end = start
    return found
