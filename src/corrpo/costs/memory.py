"""Peak memory of each estimator beside the weights, in bytes.

Counted are the tensors that a transformers block with RMS norms and a gated feed-forward part saves for a
backward to activations alone (no linear layer saves its input, as no weight has a gradient), a token:

    4-byte inputs of two norms            2 d
    inputs of projections                 d + H f
    outputs of projections                H e + G e + G f + d           G: key-value heads
    rotated queries and keys              H e + G e
    gate, its activation, up              3 inner + 2 chosen d          chosen: routed experts

    own    all blocks' saved tensors and derivatives at projections, one block of attention rows, the mask
    last   one block's saved tensors, every layer's q, k, v, output, one block of attention rows, the mask; or
           the closed forms of at most 32 targets
    exact  saved tensors of all blocks, or the inputs of blocks L s d and the saved tensors of two of them;
           row factors; and the largest of m cotangents in flight through a feed-forward part, through
           attention with its block of rows, or at the projections with the norms of a few gradients
"""

from dataclasses import dataclass

from corrpo.costs.arithmetic import FACTOR_ROOM, PREFIXES_TOGETHER, inputs, pairs, rows_together, weights_kept
from corrpo.costs.passes import CPU_BUDGET, WIDE, Pass, exact_passes
from corrpo.costs.shapes import Block, Map, ModelShape, Workload
from corrpo.errors import BadInputError

_ROW_TENSORS, _ROW_TENSORS_KEPT, _MASKS = 6.25, 3.25, 0.5
"""Tensors of rows x keys x heads alive at once (with those of the block before), and of tokens x tokens."""
_GROUP_ELEMENTS, _GROUP_TARGETS = 1 << 25, 32


@dataclass(frozen=True)
class Memory:
    """Peak memory of one estimator on one response.

    Attributes:
        kept: bytes that grow with tokens alone: saved tensors, inputs of blocks, derivatives.
        working: bytes of the largest step beside them.
    """

    kept: float
    working: float

    @property
    def total(self) -> float:
        """Their sum."""
        return self.kept + self.working


def projected(shape: ModelShape) -> int:
    """Features of queries, keys, values and the output of attention, of one token in one layer."""
    heads, kv_heads = shape.heads, shape.kv_heads
    return heads * (shape.qk_dim + shape.v_dim) + kv_heads * (shape.qk_dim + shape.v_dim)


def outputs(block: Block) -> int:
    """Output features of all projections of a block."""
    return sum(each.d_out for each in block.projections.values())


def saved(shape: ModelShape, block: Block, element: float) -> float:
    """Bytes that one block saves of one token; `element`: bytes of an activation."""
    rotated = (shape.heads + shape.kv_heads) * shape.qk_dim
    inner = 3 * block.inner + 2 * block.chosen * shape.hidden
    return 2 * shape.hidden * WIDE + (sum(inputs(block)) + outputs(block) + rotated + inner) * element


def _attention_rows(shape: ModelShape, length: int, kept: bool) -> float:
    """Bytes of a block of attention rows, and of the mask."""
    rows = rows_together(length, shape.heads) * shape.heads * length
    return WIDE * ((_ROW_TENSORS_KEPT if kept else _ROW_TENSORS) * rows + _MASKS * length**2)


def own_memory(shape: ModelShape, length: int, layers: int | None, element: float) -> Memory:
    """Of `own` over a prefix of `length` tokens, in so many upper layers."""
    upper = shape.upper(layers)
    kept = weights_kept(length, shape.heads)
    tokens = sum(saved(shape, block, element) + outputs(block) * element for block in upper.blocks)
    weights = 2 * WIDE * shape.heads * pairs(length, shape.heads) * len(upper.blocks) if kept else 0
    working = _attention_rows(shape, length, kept) + shape.hidden * element * length
    return Memory(length * tokens + weights, working)


def norms_memory(projection: Map, length: int, targets: int) -> float:
    """Bytes of the matrices d_out x r and k x k of gradients whose norms are taken together."""
    r = min(length, projection.d_in)
    each = 12 * projection.d_out * r + 16 * min(r, projection.d_out) ** 2
    return min(targets, PREFIXES_TOGETHER) * each


def last_memory(shape: ModelShape, length: int, targets: int, element: float) -> Memory:
    """Of `last` over a prefix of `length` tokens with so many targets."""
    block = shape.blocks[-1]
    key = block.projections["k"]
    kept = weights_kept(length, shape.heads)
    calls = len(shape.blocks) * projected(shape) * element
    weights = 2 * WIDE * shape.heads * pairs(length, shape.heads) if kept else 0
    most = min(targets, _GROUP_TARGETS)
    together = max(1, min(most, _GROUP_ELEMENTS // (length * (key.d_out + shape.heads))))
    derivatives = together * length * key.d_out * element
    at_keys = max(4 * derivatives, 3.5 * derivatives + norms_memory(key, length, together))
    factor = 3 * 8 * length * key.d_in
    closed = at_keys + factor + 3 * together * length * shape.heads * WIDE
    working = max(_attention_rows(shape, length, kept), closed)
    return Memory(length * (calls + saved(shape, block, element)) + weights, working)


def exact_memory(
    shape: ModelShape, one: Pass, layers: int | None, element: float, eigenvalues: bool
) -> Memory:
    """Of one pass of `exact`."""
    length, m = one.length, len(one.positions)
    upper = shape.upper(layers)
    held = [saved(shape, block, element) + shape.heads * shape.v_dim * element for block in upper.blocks]
    largest = upper.blocks[max(range(len(held)), key=lambda i: held[i])]
    graph = sum(held) if one.keep else 2 * max(held) + len(shape.blocks) * shape.hidden * element
    factors = sum(WIDE * length * min(length, width) for block in upper.blocks for width in inputs(block))
    d = shape.hidden
    feed_forward = m * length * (3 * d + 3 * largest.inner + 2 * largest.chosen * d) * element
    attention = m * length * (2.75 * d + 2.25 * projected(shape)) * element
    attention += (WIDE + element) * rows_together(length, shape.heads, m) * shape.heads * length * m
    matrices = [norms_memory(each, length, m) for each in largest.projections.values()]
    norms = m * length * (2 * d + outputs(largest)) * element + (max(matrices) if eigenvalues else 0)
    return Memory(length * graph + min(factors, FACTOR_ROOM), max(feed_forward, attention, norms))


def memory(
    shape: ModelShape,
    workload: Workload,
    estimator: str,
    *,
    element: float = 4.0,
    eigenvalues: bool = True,
    budget: float = CPU_BUDGET,
) -> Memory:
    """Peak memory beside the weights.

    Args:
        shape: of the model.
        workload: the response.
        estimator: "own", "last" or "exact".
        element: bytes of an activation.
        eigenvalues: whether norms of `exact` are by eigenvalues, with d_out x d_in numbers a gradient.
        budget: bytes that a pass of `exact` may take.

    Raises:
        BadInputError: another estimator.
    """
    length = workload.length
    if estimator == "own":
        return own_memory(shape, length, workload.layers, element)
    if estimator == "last":
        return last_memory(shape, length, len(workload.positions), element)
    if estimator == "exact":
        passes = exact_passes(shape.upper(workload.layers), workload.positions, budget, element)
        return exact_memory(shape, passes[0], workload.layers, element, eigenvalues)
    raise BadInputError(f"estimator {estimator!r} has no memory model; expected own, last or exact")
