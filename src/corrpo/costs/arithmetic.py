"""Operations of each estimator: floating-point multiplications and additions.

With s the tokens of a prefix, P the weights of all blocks that a token meets, H heads of width e (queries
and keys) and f (values), and c s^2 the pairs of query and key that are computed (c is near 1/2 where rows of
queries are taken in blocks, each with the keys that it can see):

    forward                        F(s) = 2 s P + L 2 H c s^2 (e + f)
    backward to activations alone  B(s) = 2 s P + L 2 H c s^2 (2 e + 2 f)       no gradient of any weight
    own-position backward          O(s) = 2 s P + L 2 H c s^2 (e + f) [+ e where the weights are made again]

    own        F(s) + O(s)                                 s: the last target's prefix; all targets at once
    last       F(s) + one block's O(s) + n (closed forms of K and V, over s)
    exact      sum over groups of m targets: forwards x F(s) + m B(s), and n 4 L norms
    reference  F(T) + head + n (B(T) + head + 2 T W_qkvo), and n 4 L decompositions of d_out x d_in

No backward goes below the first block's queries, keys and values. The head computes the written token's logit
alone, which is no matrix product; `reference` computes all logits. Elementwise operations are not counted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from corrpo.costs.shapes import Block, Map, ModelShape, Workload, grouped
from corrpo.errors import BadInputError

FORWARDS = 2
"""Forward passes of a group of `exact`: one keeps the inputs of blocks, one makes a graph block by block."""
PREFIXES_TOGETHER = 8
"""Neighbouring targets whose norms are taken together, over the longest prefix of them."""
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


def pairs(length: int, heads: int) -> int:
    """Pairs of query and key that attention by blocks of rows computes, of length^2.

    >>> pairs(1024, heads=8) / 1024**2
    0.625
    """
    fitting = _BLOCK_ELEMENTS // max(1, heads * length)
    step = max(1, min(fitting, max(_LEAST_ROWS, -(-length // _ROW_BLOCKS))))
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
    per_pass: int,
    *,
    forwards: int = FORWARDS,
    pairs_of: Callable[[int, int], int] = pairs,
    norms: Callable[[Map, Sequence[int]], Operations] | None = None,
) -> Operations:
    """Operations of `exact` over the targets at `positions`.

    Args:
        shape: of the model.
        positions: ascending.
        per_pass: targets differentiated at once.
        forwards: forward passes of a group; with 2, the second makes the graph of one block at a time.
        pairs_of: pairs of query and key that attention computes, of (length, heads).
        norms: of the gradients of one projection, of (map, prefixes); `eigenvalue_norms` for None.
    """
    total = Operations()
    heads, layers = shape.heads, len(shape.blocks)
    for group in grouped(positions, per_pass):
        length, m = group[-1], len(group)
        computed = pairs_of(length, heads)
        attention = layers * 2 * heads * computed * (2 * shape.qk_dim + 2 * shape.v_dim)
        backward = 2 * length * _weights_backward(shape) + attention
        total += Operations(forwards * forward(shape, length, computed) + m * backward)
    return total + _all_norms(shape, positions, per_pass, norms or eigenvalue_norms)


def _all_norms(
    shape: ModelShape,
    positions: Sequence[int],
    per_pass: int,
    norms: Callable[[Map, Sequence[int]], Operations],
) -> Operations:
    """Norms of every projection of every block, and the row factors of their inputs."""
    total = Operations()
    costs: dict[Map, Operations] = {}
    for block in shape.blocks:
        for each in block.projections.values():
            if each not in costs:
                costs[each] = sum(
                    (norms(each, group) for group in grouped(positions, per_pass)), start=Operations()
                )
            total += costs[each]
        total += row_factors(block, positions[-1])
    return total


def row_factors(block: Block, length: int) -> Operations:
    """QR decompositions of a block's inputs of projections; those of equal width are one tensor or two."""
    widths = {each.d_in for kind, each in block.projections.items() if kind != "o"}
    return Operations(
        decompositions=sum(_qr(length, width) for width in [*widths, block.projections["o"].d_in])
    )


def _qr(rows: int, columns: int) -> float:
    """Householder QR, the triangle alone: 2 r^2 (R - r / 3) for an R x r matrix."""
    r, long = sorted((rows, columns))
    return 2.0 * r * r * (long - r / 3)


def eigenvalue_norms(projection: Map, prefixes: Sequence[int]) -> Operations:
    """Nuclear norms by the eigenvalues of the smaller Gram matrix of Delta^T R^T, r = min(s, d_in).

    Products 2 s r d_out; the Gram matrix in float64, 2 k^2 K for k, K the smaller and larger of (d_out, r);
    its eigenvalues 4/3 k^3.
    """
    total = Operations()
    for start in range(0, len(prefixes), PREFIXES_TOGETHER):
        together = prefixes[start : start + PREFIXES_TOGETHER]
        length = together[-1]
        r = min(length, projection.d_in)
        k, large = sorted((r, projection.d_out))
        each = Operations(2.0 * length * r * projection.d_out, 2.0 * k * k * large, 4 / 3 * k**3)
        total += each * len(together)
    return total


def low_rank_norms(rank: int, power_iterations: int = 1) -> Callable[[Map, Sequence[int]], Operations]:
    """Nuclear norms by a randomized range finder of that rank, for `exact`.

    Each pass over a gradient multiplies k columns by A and by Delta^T, or by their transposes:
    2 k s (d_in + d_out). The range takes one pass and two more for each power iteration, its singular values
    one; each power iteration has a QR of k columns, and the end the eigenvalues of k x k.
    """

    def norms(projection: Map, prefixes: Sequence[int]) -> Operations:
        passes = 2 + 2 * power_iterations
        total = Operations()
        for length in prefixes:
            k = min(rank, length, projection.d_in, projection.d_out)
            through = 2.0 * k * length * (projection.d_in + projection.d_out)
            small = (1 + power_iterations) * 2.0 * projection.d_out * k * k + 4 / 3 * k**3
            total += Operations(passes * through, 2.0 * k * k * projection.d_in, small)
        return total

    return norms


def own(shape: ModelShape, positions: Sequence[int]) -> Operations:
    """Operations of `own` over the targets at `positions`: their number does not matter."""
    length = positions[-1]
    computed = pairs(length, shape.heads)
    backward = 2.0 * length * _weights_backward(shape)
    backward += len(shape.blocks) * _own_attention_backward(shape, length, computed)
    return Operations(forward(shape, length, computed) + backward)


def _own_attention_backward(shape: ModelShape, length: int, computed: int) -> float:
    """One layer's: weights made again where they were not kept, g v, and e k."""
    kept = shape.heads * length * length <= _KEPT_ELEMENTS
    return 2.0 * shape.heads * computed * (shape.v_dim + shape.qk_dim + (0 if kept else shape.qk_dim))


def last(shape: ModelShape, positions: Sequence[int]) -> Operations:
    """Operations of `last` over the targets at `positions`."""
    length, n = positions[-1], len(positions)
    heads, block = shape.heads, shape.blocks[-1]
    computed = pairs(length, heads)
    passes = forward(shape, length, computed) + 2.0 * length * (block.active + block.projections["o"].weights)
    passes += _own_attention_backward(shape, length, computed)
    value, key = block.projections["v"], block.projections["k"]
    scores = 2.0 * heads * length * shape.qk_dim
    values = n * (scores + 2.0 * heads * length * value.d_in + 2.0 * value.d_out * heads**2)
    keys = n * (2 * scores + 2.0 * heads * length * shape.v_dim)
    gram = 2.0 * heads**2 * max(heads, value.d_out)
    small = Operations(wide=n * gram, decompositions=n * (_qr(heads, value.d_in) + 4 / 3 * heads**3))
    factor = Operations(decompositions=_qr(length, key.d_in))
    return Operations(passes + values + keys) + small + factor + eigenvalue_norms(key, positions)


def reference(shape: ModelShape, positions: Sequence[int], length: int) -> Operations:
    """Operations of `reference` over the targets at `positions` of a sequence of `length` tokens.

    Singular values of a D x d matrix: 4 D d^2 - 4/3 d^3.
    """
    heads, n = shape.heads, len(positions)
    head = 2.0 * length * shape.vocabulary * shape.hidden
    measured = sum(each.weights for block in shape.blocks for each in block.projections.values())
    attention = len(shape.blocks) * 2 * heads * length**2 * (2 * shape.qk_dim + 2 * shape.v_dim)
    backward = 2.0 * length * (_weights_backward(shape) + measured) + attention + head
    svd = 0.0
    for block in shape.blocks:
        for each in block.projections.values():
            small, large = sorted((each.d_in, each.d_out))
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
    norms: Callable[[Map, Sequence[int]], Operations] | None = None,
) -> Operations:
    """Operations of an estimator over one response; `norms` as in `exact`, for which alone it matters.

    Raises:
        BadInputError: an unknown estimator.
    """
    positions = workload.positions
    if estimator == "exact":
        return exact(shape, positions, workload.per_pass, norms=norms)
    if estimator == "own":
        return own(shape, positions)
    if estimator == "last":
        return last(shape, positions)
    if estimator == "reference":
        return reference(shape, positions, workload.prompt + workload.response)
    raise BadInputError(f"estimator {estimator!r} is unknown; expected exact, own, last or reference")
