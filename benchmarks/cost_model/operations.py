"""Operations of each estimator: floating-point multiplications and additions.

With s the tokens of a prefix, P the weights of all blocks that a token meets, H heads of width e (queries
and keys) and f (values), and c s^2 the pairs of query and key that are computed (c is near 1/2 where rows of
queries are taken in blocks, each with the keys that it can see):

    forward                        F(s) = 2 s P + L 2 H c s^2 (e + f)
    backward to activations alone  B(s) = 2 s P + L 2 H c s^2 (2 e + 2 f)       no gradient of any weight
    own-position backward          O(s) = 2 s P + L 2 H c s^2 (e + f) [+ e where the weights are made again]

    own        F(s) + O(s)                                 s: the last target's prefix; all targets at once;
               F(s) again of measured blocks where the graph takes more than half of the free memory
    last       F(s) + one block's O(s) + n (closed forms of K and V, over s)
    exact      sum over passes of m targets: F(s), F(s) again without room for the graph, m B(s); n 4 L norms
    reference  F(T) + head + n (B(T) + head + 2 T W_qkvo), and n 4 L decompositions of d_out x d_in

No backward goes below the first block's queries, keys and values. The head computes the written token's logit
alone, which is no matrix product; `reference` computes all logits. Elementwise operations are not counted.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from corrpo.errors import BadInputError
from cost_model.model_shape import Block, Map, ModelShape, Workload
from cost_model.passes import CPU_BUDGET, WIDE, Pass, exact_passes, own_by_blocks

PREFIXES_TOGETHER = 8
"""Neighbouring targets whose norms are taken together, over the longest prefix of them."""
_SPLIT_SIDE = 96
_ROW_BLOCKS, _LEAST_ROWS, _BLOCK_ELEMENTS, _KEPT_ELEMENTS = 4, 32, 1 << 24, 1 << 22


@dataclass(frozen=True)
class Operations:
    """Floating-point operations by kind, which run at different speeds.

    Attributes:
        products: matrix products in the model's dtype, or float32.
        wide: matrix products in float64.
        decompositions: QR, eigenvalues and singular values.
    """

    products: float = 0.0
    wide: float = 0.0
    decompositions: float = 0.0

    def __add__(self, other: "Operations") -> "Operations":
        return Operations(
            self.products + other.products,
            self.wide + other.wide,
            self.decompositions + other.decompositions,
        )

    def __mul__(self, times: float) -> "Operations":
        return Operations(self.products * times, self.wide * times, self.decompositions * times)

    @property
    def total(self) -> float:
        """All of them."""
        return self.products + self.wide + self.decompositions


Norms = Callable[[Map, Sequence[int]], Operations]
"""Operations of the norms of one projection's gradients, of (map, prefixes)."""


def rows_together(length: int, heads: int, targets: int = 1) -> int:
    """Rows of queries that attention takes at once, for so many targets together."""
    fitting = _BLOCK_ELEMENTS // max(1, targets * heads * length)
    return max(1, min(fitting, max(_LEAST_ROWS, -(-length // _ROW_BLOCKS))))


def weights_kept(length: int, heads: int) -> bool:
    """Whether attention keeps its weights for the backward, rather than make them again."""
    return heads * length * length <= _KEPT_ELEMENTS


def pairs(length: int, heads: int, targets: int = 1) -> int:
    """Pairs of query and key that attention by blocks of rows computes, of length^2.

    >>> pairs(1024, heads=8) / 1024**2
    0.625
    """
    step = rows_together(length, heads, targets)
    full, rest = divmod(length, step)
    return step * step * full * (full + 1) // 2 + rest * length


def forward(shape: ModelShape, length: int, pairs_computed: int) -> float:
    """Products of one forward pass through all blocks."""
    per_pair = 2 * shape.heads * (shape.qk_dim + shape.v_dim)
    return 2.0 * length * shape.active_weights + len(shape.blocks) * per_pair * pairs_computed


def _weights_backward(shape: ModelShape) -> int:
    """Weights that a backward to activations alone goes through: not those below the first projections."""
    return shape.active_weights - shape.blocks[0].entry


def exact(
    shape: ModelShape,
    positions: Sequence[int],
    passes: Sequence[Pass],
    layers: int | None = None,
    norms: Norms | None = None,
    room: float = CPU_BUDGET,
) -> Operations:
    """Operations of `exact`.

    Args:
        shape: of the model.
        positions: of the targets, ascending.
        passes: of `exact_passes`.
        layers: how many upper layers are measured; all for None.
        norms: of the gradients of one projection, of (map, prefixes); `eigenvalue_norms` for None.
        room: bytes of row factors that are kept from one pass to the next.
    """
    upper = shape.upper(layers)
    heads, total = shape.heads, Operations()
    for part in passes:
        length, m = part.prefix, part.backwards
        computed = pairs(length, heads)
        total += Operations(forward(shape, length, computed))
        if not part.keeps_graph:
            total += Operations(forward(upper, length, computed))
        per_pair = shape.qk_dim + m * (2 * shape.qk_dim + 2 * shape.v_dim)
        attention = len(upper.blocks) * 2.0 * heads * per_pair * pairs(length, heads, m)
        total += Operations(m * 2.0 * length * _weights_backward(upper) + attention)
    return total + _all_norms(upper, positions, passes, norms or eigenvalue_norms, room)


def _all_norms(
    shape: ModelShape, positions: Sequence[int], passes: Sequence[Pass], norms: Norms, room: float
) -> Operations:
    """Norms of every projection of every block, and the row factors of their inputs.

    Factors of the first, longest pass serve all others as far as there is room, and are made again beyond it.
    """
    total = Operations()
    costs: dict[Map, Operations] = {}
    for block in shape.blocks:
        for projection in block.projections.values():
            if projection not in costs:
                costs[projection] = sum(
                    (norms(projection, positions[one.targets]) for one in passes), start=Operations()
                )
            total += costs[projection]
    for width, kept in factors(shape, passes[0].prefix, room):
        made = passes[:1] if kept else passes
        total += Operations(decompositions=sum(_qr(one.prefix, width) for one in made))
    return total


def factors(shape: ModelShape, length: int, room: float) -> list[tuple[int, bool]]:
    """Row factors of `exact` from the last block down: the width of the input, and whether there is room.

    A factor that several projections read takes one's memory, but its bytes are charged for each of them.
    """
    fitting = []
    for block in reversed(shape.blocks):
        maps = block.projections
        for width, readers in [*Counter(maps[kind].d_in for kind in "qkv").items(), (maps["o"].d_in, 1)]:
            size = factor_bytes(length, width)
            fitting.append((width, size <= room))
            room -= size * min(readers, room // size)
    return fitting


def factor_bytes(length: int, width: int) -> int:
    """Bytes of the row factor of `length` inputs of so many features."""
    return WIDE * length * min(length, width)


def inputs(block: Block) -> list[int]:
    """Widths of the inputs of a block's projections; queries, keys and values of one width share it."""
    maps = block.projections
    return [*{maps[kind].d_in for kind in "qkv"}, maps["o"].d_in]


def _qr(rows: int, columns: int) -> float:
    """Householder QR, the triangle alone: 2 r^2 (R - r / 3) for an R x r matrix."""
    r, long = sorted((rows, columns))
    return 2.0 * r * r * (long - r / 3)


def _gram(side: int, length: int) -> float:
    """Products of the lower triangle of a Gram matrix, in two pieces from `_SPLIT_SIDE` on."""
    half = side // 2
    entries = side * side if side < _SPLIT_SIDE else half * side + (side - half) ** 2
    return 2.0 * length * entries


def eigenvalue_norms(projection: Map, prefixes: Sequence[int]) -> Operations:
    """Nuclear norms by the eigenvalues of the smaller Gram matrix of Delta^T R^T, r = min(s, d_in).

    Products 2 s r d_out; three quarters of the Gram matrix in float64, 3/2 k^2 K for k, K the smaller and
    larger of (d_out, r), or the whole of a small one; its eigenvalues 4/3 k^3.
    """
    total = Operations()
    for start in range(0, len(prefixes), PREFIXES_TOGETHER):
        together = prefixes[start : start + PREFIXES_TOGETHER]
        length = together[-1]
        r = min(length, projection.d_in)
        k, large = sorted((r, projection.d_out))
        product = Operations(2.0 * length * r * projection.d_out, _gram(k, large), 4 / 3 * k**3)
        total += product * len(together)
    return total


def low_rank_norms(rank: int) -> Norms:
    """Nuclear norms by a low rank, certified by the Frobenius norm of the rest: rank k of M = Delta^T R^T.

    M takes 2 s r d_out; a basis of k directions with one power iteration three products of M with k columns,
    6 d_out r k; its image and the basis itself, in float64, 2 d_out r k and 8 r k^2; eigenvalues 4/3 k^3 and
    QR 4 r k^2.
    """

    def norms(projection: Map, prefixes: Sequence[int]) -> Operations:
        total = Operations()
        for length in prefixes:
            r, out = min(length, projection.d_in), projection.d_out
            k = min(rank, r, out)
            products = 2.0 * length * r * out + 6.0 * out * r * k
            wide = 2.0 * out * r * k + 8.0 * r * k * k
            total += Operations(products, wide, 4.0 * r * k * k + 4 / 3 * k**3)
        return total

    return norms


def own(
    shape: ModelShape, positions: Sequence[int], layers: int | None = None, by_blocks: bool = False
) -> Operations:
    """Operations of `own` over the targets at `positions`, whose number does not matter, in upper layers.

    Block by block (`by_blocks`) the measured blocks go forward a second time.
    """
    length, upper = positions[-1], shape.upper(layers)
    computed = pairs(length, shape.heads)
    backward = 2.0 * length * _weights_backward(upper)
    backward += len(upper.blocks) * _own_attention_backward(shape, length, computed)
    again = forward(upper, length, computed) if by_blocks else 0.0
    return Operations(forward(shape, length, computed) + again + backward)


def _own_attention_backward(shape: ModelShape, length: int, computed: int) -> float:
    """One layer's: weights made again where they were not kept, g v, and e k."""
    again = 0 if weights_kept(length, shape.heads) else shape.qk_dim
    return 2.0 * shape.heads * computed * (shape.v_dim + shape.qk_dim + again)


def last(shape: ModelShape, positions: Sequence[int], norms: Norms | None = None) -> Operations:
    """Operations of `last` over the targets at `positions`; `norms` as in `exact`, for K."""
    length, n = positions[-1], len(positions)
    heads, block = shape.heads, shape.blocks[-1]
    computed = pairs(length, heads)
    passes = forward(shape, length, computed) + 2.0 * length * (block.active + block.projections["o"].weights)
    passes += _own_attention_backward(shape, length, computed)
    value, key = block.projections["v"], block.projections["k"]
    scores = 2.0 * heads * length * shape.qk_dim
    values = n * (scores + 2.0 * heads * length * value.d_in + 2.0 * value.d_out * heads**2)
    keys = n * (2 * scores + 2.0 * heads * length * shape.v_dim)
    gram = _gram(min(heads, value.d_out), max(heads, value.d_out))
    small = Operations(wide=n * gram, decompositions=n * (_qr(heads, value.d_in) + 4 / 3 * heads**3))
    factor = Operations(decompositions=_qr(length, key.d_in))
    return Operations(passes + values + keys) + small + factor + (norms or eigenvalue_norms)(key, positions)


def reference(shape: ModelShape, positions: Sequence[int], length: int) -> Operations:
    """Operations of `reference` over the targets at `positions` of a sequence of `length` tokens.

    Singular values of a D x d matrix: 4 D d^2 - 4/3 d^3.
    """
    heads, n = shape.heads, len(positions)
    head = 2.0 * length * shape.vocabulary * shape.hidden
    measured = sum(projection.weights for block in shape.blocks for projection in block.projections.values())
    attention = len(shape.blocks) * 2 * heads * length**2 * (2 * shape.qk_dim + 2 * shape.v_dim)
    backward = 2.0 * length * (_weights_backward(shape) + measured) + attention + head
    svd = 0.0
    for block in shape.blocks:
        for projection in block.projections.values():
            small, large = sorted((projection.d_in, projection.d_out))
            svd += 4.0 * large * small**2 - 4 / 3 * small**3
    return Operations(forward(shape, length, length**2) + head + n * backward, 0.0, n * svd)


def training_step(shape: ModelShape, length: int) -> Operations:
    """One forward and backward with the gradients of all weights, of one sequence."""
    per_pair = 2 * shape.heads * (shape.qk_dim + shape.v_dim)
    head = 6.0 * length * shape.vocabulary * shape.hidden
    dense = 6.0 * length * shape.active_weights
    return Operations(dense + head + 3 * len(shape.blocks) * per_pair * length**2)


def entropies(shape: ModelShape, workload: Workload) -> Operations:
    """The forward pass that gives the entropies of a response, which `corrpo measure` makes beside."""
    length = workload.prompt + workload.response
    head = 2.0 * (workload.response + 1) * shape.vocabulary * shape.hidden
    return Operations(forward(shape, length, length**2) + head)


def operations(
    shape: ModelShape,
    workload: Workload,
    estimator: str,
    norms: Norms | None = None,
    budget: float | None = None,
    element: float = 4.0,
) -> Operations:
    """Operations of an estimator over one response.

    Args:
        shape: of the model.
        workload: the response.
        estimator: "exact", "own", "last" or "reference".
        norms: as in `exact`, which alone and `last` take them.
        budget: bytes that a pass of `exact`, its row factors, and the graph of `own` may take: half of what
            is free on a GPU. For None, `CPU_BUDGET` for `exact` and no bound for `own`.
        element: bytes of an activation.

    Raises:
        BadInputError: an unknown estimator.
    """
    positions = workload.positions
    if estimator == "exact":
        room = CPU_BUDGET if budget is None else budget
        passes = exact_passes(shape, positions, room, element, workload.layers)
        return exact(shape, positions, passes, workload.layers, norms, room)
    if estimator == "own":
        by_blocks = budget is not None and own_by_blocks(shape, workload.length, budget, element)
        return own(shape, positions, workload.layers, by_blocks)
    if estimator == "last":
        return last(shape, positions, norms)
    if estimator == "reference":
        return reference(shape, positions, workload.prompt + workload.response)
    raise BadInputError(f"estimator {estimator!r} is unknown; expected exact, own, last or reference")
