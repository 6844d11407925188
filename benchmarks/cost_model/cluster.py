"""Time by the roofline, and how many GPUs a measurement needs and can use.

Every GPU reads its own responses. Weights that do not fit one GPU are spread over the fewest GPUs that hold
them, and every pass gathers each block once (FSDP), so that a group of GPUs works on as many responses as it
has GPUs. The time of a response is the largest of three: operations over their speed, bytes moved over the
speed of the memory, bytes gathered over the speed of the links.
"""

import math
from dataclasses import dataclass

from corrpo.errors import BadInputError
from cost_model.memory import memory, outputs, saved
from cost_model.model_shape import ModelShape, Workload
from cost_model.operations import Norms, Operations, low_rank_norms, operations, pairs
from cost_model.passes import WIDE, exact_passes, own_by_blocks

_SCORE_MOVES = 6
"""Reads and writes of attention weights outside of products: forward, and again for each backward."""
_BLOCKS_GATHERED = 2
"""Blocks that are whole on a GPU at one time: the one that works and the one that is fetched."""


@dataclass(frozen=True)
class Hardware:
    """A machine of equal GPUs, by sustained speeds.

    Attributes:
        name: for tables.
        flops: matrix products in the model's dtype, operations a second.
        wide_flops: matrix products in float64.
        decomposition_flops: QR, eigenvalues and singular values.
        memory_bytes: memory of one GPU that tensors can use.
        memory_speed: bytes a second from and to it.
        node: GPUs of one node.
        link_speed: bytes a second that a GPU receives from others of its node.
        network_speed: bytes a second that a GPU receives from other nodes.
    """

    name: str
    flops: float
    wide_flops: float
    decomposition_flops: float
    memory_bytes: float
    memory_speed: float
    node: int = 8
    link_speed: float = math.inf
    network_speed: float = math.inf

    def __post_init__(self) -> None:
        speeds = (self.flops, self.wide_flops, self.decomposition_flops, self.memory_speed)
        if min(*speeds, self.link_speed, self.network_speed, self.memory_bytes) <= 0 or self.node < 1:
            raise BadInputError(f"{self}: expected speeds and sizes above 0")


H100 = Hardware(
    "H100-like",
    flops=0.4 * 989e12,
    wide_flops=0.4 * 67e12,
    decomposition_flops=3e12,
    memory_bytes=0.9 * 80e9,
    memory_speed=0.8 * 3.35e12,
    node=8,
    link_speed=0.7 * 450e9,
    network_speed=0.8 * 50e9,
)
"""An H100 SXM by its data sheet (dense bfloat16 989 TFLOP/s, float64 67, 80 GB at 3.35 TB/s, NVLink 450 GB/s
and a 400 Gb/s network card for each GPU, in each direction) times assumed efficiencies; the speed of
decompositions is a guess."""


@dataclass(frozen=True)
class Cost:
    """One response on one GPU of a group of `sharded` GPUs.

    Attributes:
        operations: see `Operations`.
        moved: bytes to and from the GPU's memory.
        gathered: bytes received from other GPUs.
        memory: peak bytes, with the GPU's share of the weights.
        compute_seconds: operations over their speeds.
        memory_seconds: bytes moved over the speed of the memory.
        link_seconds: bytes gathered over the speed of the slowest link.
    """

    operations: Operations
    moved: float
    gathered: float
    memory: float
    compute_seconds: float
    memory_seconds: float
    link_seconds: float

    @property
    def seconds(self) -> float:
        """The roofline: the largest of the three."""
        return max(self.compute_seconds, self.memory_seconds, self.link_seconds)

    @property
    def bottleneck(self) -> str:
        """What the time is spent on: "compute", "memory" or "links"."""
        parts = {"compute": self.compute_seconds, "memory": self.memory_seconds, "links": self.link_seconds}
        return max(parts, key=lambda name: parts[name])


@dataclass(frozen=True)
class Setting:
    """How norms and attention are computed, where there is a choice.

    Attributes:
        rank: of the low-rank path of nuclear norms in `exact`; None for eigenvalues.
        fused: whether attention keeps its weights out of the memory (as flash attention does).
        element: bytes of an activation.
        budget: bytes that a pass of `exact`, its row factors, and the graph of `own` may take; half of what
            the weights leave for None.
    """

    rank: int | None = 256
    fused: bool = False
    element: float = 2.0
    budget: float | None = None

    @property
    def norms(self) -> Norms | None:
        """As in `arithmetic.exact`."""
        return None if self.rank is None else low_rank_norms(self.rank)


@dataclass(frozen=True)
class _Pass:
    """One pass: tokens, times that all blocks and the upper blocks are passed forward, and targets back."""

    length: int
    forwards: int
    again: int
    backwards: int


def _passes(
    shape: ModelShape, workload: Workload, estimator: str, budget: float, element: float
) -> list[_Pass]:
    if estimator == "last":
        return [_Pass(workload.length, 1, 0, 0)]
    if estimator == "own":
        again = own_by_blocks(shape, workload.length, budget, element)
        return [_Pass(workload.length, 1, int(again), 1)]
    exact = exact_passes(shape, workload.positions, budget, element, workload.layers)
    return [_Pass(part.prefix, 1, part.forwards - 1, part.backwards) for part in exact]


def _moved(
    shape: ModelShape, workload: Workload, estimator: str, passes: list[_Pass], setting: Setting
) -> float:
    """Bytes to and from the memory: weights once a pass, activations written and read, attention weights.

    m targets that go back together read the weights once. Of `last`, the one block of backward is left out,
    and the closed forms read the keys, values and inputs once a target.
    """

    def through(part: ModelShape, length: int, times: int, reads: int) -> float:
        weights = min(part.block_weights, length * part.active_weights) * part.weight_bytes
        activations = 2 * length * sum(saved(part, block, setting.element) for block in part.blocks)
        scores = len(part.blocks) * part.heads * pairs(length, part.heads) * WIDE
        return weights * reads + times * (activations + (0 if setting.fused else _SCORE_MOVES * scores))

    upper = shape.upper(workload.layers)
    deltas = sum(outputs(block) for block in upper.blocks) * setting.element
    total = 0.0
    for part in passes:
        total += through(shape, part.length, part.forwards, part.forwards)
        total += through(upper, part.length, part.again + part.backwards, part.again + (part.backwards > 0))
        total += 4 * part.length * deltas * (part.backwards if estimator == "exact" else 0)
    if estimator == "last":
        per_token = (shape.kv_heads * (shape.qk_dim + shape.v_dim) + shape.hidden) * setting.element
        total += len(workload.positions) * workload.length * (per_token + 4 * shape.heads * WIDE)
    return total


def _gathered(shape: ModelShape, workload: Workload, passes: list[_Pass], sharded: int) -> float:
    """Bytes that one GPU receives: every other GPU's share of the blocks, for each pass.

    The second forward of a block and its backward share one gathering.
    """
    upper = shape.upper(workload.layers)
    weights = sum(
        part.forwards * shape.block_weights + (part.backwards > 0) * upper.block_weights for part in passes
    )
    return weights * shape.weight_bytes * (sharded - 1) / sharded


def resident(shape: ModelShape, sharded: int) -> float:
    """Bytes of weights on one GPU: its share, and the blocks that are gathered."""
    weights = shape.weights * shape.weight_bytes
    if sharded == 1:
        return weights
    largest = max(block.mixer + block.all for block in shape.blocks)
    return weights / sharded + _BLOCKS_GATHERED * largest * shape.weight_bytes


def cost(
    shape: ModelShape,
    workload: Workload,
    estimator: str,
    hardware: Hardware = H100,
    sharded: int = 1,
    setting: Setting | None = None,
) -> Cost:
    """What one response costs on one GPU of a group that shares the weights.

    Args:
        shape: of the model.
        workload: the response.
        estimator: "own", "last" or "exact".
        hardware: whose speeds count.
        sharded: GPUs over which the weights are spread; 1 for a copy on each.
        setting: of norms and attention; the default for None.

    Raises:
        BadInputError: another estimator.
    """
    setting = setting or Setting()
    weights, element = resident(shape, sharded), setting.element
    budget = max(1.0, (hardware.memory_bytes - weights) / 2) if setting.budget is None else setting.budget
    done = operations(shape, workload, estimator, setting.norms, budget, element)
    peak = memory(
        shape, workload, estimator, element=element, eigenvalues=setting.rank is None, budget=budget
    )
    passes = _passes(shape, workload, estimator, budget, element)
    moved = _moved(shape, workload, estimator, passes, setting)
    gathered = _gathered(shape, workload, passes, sharded)
    link = hardware.link_speed if sharded <= hardware.node else hardware.network_speed
    compute = done.products / hardware.flops + done.wide / hardware.wide_flops
    compute += done.decompositions / hardware.decomposition_flops
    return Cost(
        operations=done,
        moved=moved,
        gathered=gathered,
        memory=weights + peak.total,
        compute_seconds=compute,
        memory_seconds=moved / hardware.memory_speed,
        link_seconds=gathered / link,
    )


def gpus_needed(
    shape: ModelShape,
    workload: Workload,
    estimator: str,
    hardware: Hardware = H100,
    setting: Setting | None = None,
) -> int | None:
    """The fewest GPUs that hold the weights and one response each: 1, 2, 4, 8 or whole nodes to 1,024 GPUs.

    Returns:
        None where a GPU's own tensors and two gathered blocks do not fit, however many share the weights.
    """
    setting = setting or Setting()
    node = hardware.node
    sizes = [1 << power for power in range(node.bit_length()) if 1 << power < node]
    for size in [*sizes, *range(node, 1024 + 1, node)]:
        weights = resident(shape, size)
        free = hardware.memory_bytes - weights
        if free <= 0:
            continue
        budget = free / 2 if setting.budget is None else setting.budget
        tensors = memory(
            shape,
            workload,
            estimator,
            element=setting.element,
            eigenvalues=setting.rank is None,
            budget=budget,
        )
        if tensors.total <= free:
            return size
    return None


def total_seconds(one: Cost, responses: int, gpus: int, sharded: int) -> float:
    """Time for all responses on `gpus` GPUs in groups of `sharded`; each GPU takes one after another.

    >>> one = cost(_example(), Workload(64, 256), "own")
    >>> round(total_seconds(one, 500, 100, 1) / one.seconds)
    5

    Raises:
        BadInputError: fewer GPUs than one group has.
    """
    if gpus < sharded:
        raise BadInputError(f"{gpus} GPUs are fewer than the {sharded} that hold one copy of the weights")
    working = gpus // sharded * sharded
    return math.ceil(responses / working) * one.seconds


def _example() -> ModelShape:
    """Qwen2's default config, for examples."""
    from transformers import Qwen2Config

    return ModelShape.from_config(Qwen2Config())
