"""Peak memory of each estimator beside the weights, in bytes.

Counted are the tensors that a transformers block with RMS norms and a gated feed-forward part saves for a
backward to activations alone (no linear layer saves its input, as no weight has a gradient), a token:

    4-byte inputs of two norms            2 d
    inputs of projections                 d + H f
    outputs of projections                H e + G e + G f + d           G: key-value heads
    rotated queries and keys              H e + G e
    gate, its activation, up              3 inner + 2 chosen d          chosen: routed experts

    output of attention, once more       H f

    own    all blocks' saved tensors and derivatives at projections, one block of attention rows, the mask;
           or, block by block, the inputs of blocks L s d, and these of one block and of another's attention
    last   one block's saved tensors, one block of attention rows, the mask; or the closed forms of at most
           32 targets
    exact  saved tensors of all blocks, or the inputs of blocks L s d and the saved tensors of one block and
           of another's attention, whose derivatives were used last; row factors; and the largest of m
           cotangents in flight through a feed-forward part, through attention with its block of rows, or at
           the projections with the norms of a few gradients
"""

from dataclasses import dataclass

from corrpo.errors import BadInputError
from cost_model.model_shape import Block, Map, ModelShape, Workload
from cost_model.operations import (
    PREFIXES_TOGETHER,
    factor_bytes,
    factors,
    inputs,
    pairs,
    rows_together,
    weights_kept,
)
from cost_model.passes import CPU_BUDGET, WIDE, Pass, exact_passes, own_by_blocks

_ROW_TENSORS, _ROW_TENSORS_KEPT, _ROW_TENSORS_SHARED = 4.5, 3.25, 1.5
"""Float32 tensors of rows x keys x heads alive at once: where weights are made again, where they are kept,
and those that the targets of `exact` share."""
_WHOLE_MASK_ELEMENTS = 1 << 22
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
    return sum(projection.d_out for projection in block.projections.values())


def saved(shape: ModelShape, block: Block, element: float) -> float:
    """Bytes that one block saves of one token; `element`: bytes of an activation."""
    return _attention_saved(shape, block, element) + inner(shape, block) * element


def inner(shape: ModelShape, block: Block) -> int:
    """Features that the feed-forward part saves of one token."""
    return 3 * block.inner + 2 * block.chosen * shape.hidden


def _attention_saved(shape: ModelShape, block: Block, element: float) -> float:
    """The part of `saved` that derivatives at the projections hold on to: all but the feed-forward part."""
    rotated = (shape.heads + shape.kv_heads) * shape.qk_dim
    attended = shape.heads * shape.v_dim
    return 2 * shape.hidden * WIDE + (sum(inputs(block)) + outputs(block) + rotated + attended) * element


def _attention_rows(shape: ModelShape, length: int, kept: bool) -> float:
    """Bytes of a block of attention rows, and of the mask."""
    rows = rows_together(length, shape.heads) * shape.heads * length
    mask = length**2 if length**2 <= _WHOLE_MASK_ELEMENTS else 0
    return WIDE * (_ROW_TENSORS_KEPT if kept else _ROW_TENSORS) * rows + mask


def own_memory(
    shape: ModelShape, length: int, layers: int | None, element: float, by_blocks: bool = False
) -> Memory:
    """Of `own` over a prefix of `length` tokens, in so many upper layers."""
    upper = shape.upper(layers)
    kept = weights_kept(length, shape.heads)
    weights = WIDE * shape.heads * pairs(length, shape.heads) if kept else 0
    sizes = [
        length * (saved(shape, block, element) + outputs(block) * element) + weights for block in upper.blocks
    ]
    working = _attention_rows(shape, length, kept) + shape.hidden * element * length
    if not by_blocks:
        return Memory(sum(sizes), working)
    before = [
        size - length * inner(shape, block) * element for size, block in zip(sizes, upper.blocks, strict=True)
    ]
    return Memory(length * len(shape.blocks) * shape.hidden * element, max(sizes) + max(before) + working)


def norms_memory(projection: Map, length: int, targets: int) -> float:
    """Bytes of the matrices d_out x r and k x k of gradients whose norms are taken together."""
    r = min(length, projection.d_in)
    factor = 12 * projection.d_out * r + 16 * min(r, projection.d_out) ** 2
    return min(targets, PREFIXES_TOGETHER) * factor


def last_memory(shape: ModelShape, length: int, targets: int, element: float) -> Memory:
    """Of `last` over a prefix of `length` tokens with so many targets."""
    block = shape.blocks[-1]
    key = block.projections["k"]
    kept = weights_kept(length, shape.heads)
    weights = WIDE * shape.heads * pairs(length, shape.heads) if kept else 0
    most = min(targets, _GROUP_TARGETS)
    together = max(1, min(most, _GROUP_ELEMENTS // (length * (key.d_out + shape.heads))))
    derivatives = together * length * key.d_out * element
    at_keys = max(4 * derivatives, 3.5 * derivatives + norms_memory(key, length, together))
    factor = 3 * 8 * length * key.d_in
    closed = at_keys + factor + 3 * together * length * shape.heads * WIDE
    working = max(_attention_rows(shape, length, kept), closed)
    return Memory(length * (saved(shape, block, element) + shape.hidden * element) + weights, working)


def exact_memory(
    shape: ModelShape, one: Pass, layers: int | None, element: float, eigenvalues: bool, room: float
) -> Memory:
    """Of one pass of `exact`, with `room` bytes for row factors."""
    length, m = one.prefix, one.backwards
    upper = shape.upper(layers)
    held = [saved(shape, block, element) for block in upper.blocks]
    largest = upper.blocks[max(range(len(held)), key=lambda i: held[i])]
    before = max(_attention_saved(shape, block, element) for block in upper.blocks)
    graph = sum(held) if one.keeps_graph else max(held) + before + len(shape.blocks) * shape.hidden * element
    kept = sum(factor_bytes(length, width) for width, fits in factors(upper, length, room) if fits)
    d = shape.hidden
    feed_forward = m * length * (3 * d + 3 * largest.inner + 2 * largest.chosen * d) * element
    attention = m * length * (2.75 * d + 2.25 * projected(shape)) * element
    rows = rows_together(length, shape.heads, m) * shape.heads * length
    scores = 2 * WIDE + (element if element < WIDE else 0)  # in half precision the product itself, too
    attention += (m * scores + _ROW_TENSORS_SHARED * WIDE) * rows
    matrices = [norms_memory(projection, length, m) for projection in largest.projections.values()]
    norms = m * length * (2 * d + outputs(largest)) * element + (max(matrices) if eigenvalues else 0)
    return Memory(length * graph + kept, max(feed_forward, attention, norms))


def memory(
    shape: ModelShape,
    workload: Workload,
    estimator: str,
    *,
    element: float = 4.0,
    eigenvalues: bool = True,
    budget: float | None = None,
) -> Memory:
    """Peak memory beside the weights.

    Args:
        shape: of the model.
        workload: the response.
        estimator: "own", "last" or "exact".
        element: bytes of an activation.
        eigenvalues: whether norms of `exact` are by eigenvalues, with d_out x d_in numbers a gradient.
        budget: as in `operations`.

    Raises:
        BadInputError: another estimator.
    """
    length = workload.length
    if estimator == "own":
        by_blocks = budget is not None and own_by_blocks(shape, length, budget, element)
        return own_memory(shape, length, workload.layers, element, by_blocks)
    if estimator == "last":
        return last_memory(shape, length, len(workload.positions), element)
    if estimator == "exact":
        room = CPU_BUDGET if budget is None else budget
        passes = exact_passes(shape, workload.positions, room, element, workload.layers)
        return exact_memory(shape, passes[0], workload.layers, element, eigenvalues, room)
    raise BadInputError(f"estimator {estimator!r} has no memory model; expected own, last or exact")
