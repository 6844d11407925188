"""Passes: which targets an estimator takes back together, and over what prefix; what its cost follows from.

A pass reads a prefix of s tokens forward, once where there is room for the graph of all blocks, twice where
each block's graph is made again, and goes back once for each target or once for all of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Pass:
    """Targets taken back together.

    Attributes:
        targets: which targets, neighbours in ascending order.
        prefix: tokens read.
        keeps_graph: whether the graph of the whole forward pass is kept, as there is room for it.
        backwards: how many times the prefix is differentiated.
    """

    targets: slice
    prefix: int
    keeps_graph: bool
    backwards: int

    @property
    def forwards(self) -> int:
        """How many times the prefix is read forward."""
        return 1 if self.keeps_graph else 2


def has_room_for_graph(graph_bytes: float, room: float) -> bool:
    """Whether the graph of all blocks over a prefix takes at most half of `room` bytes."""
    return graph_bytes <= room // 2


def passes_by_target(
    positions: Sequence[int],
    prefix_of: Callable[[int], int],
    *,
    graph_bytes: Callable[[int], float],
    blocks: int,
    room: float,
    by_blocks: bool = True,
) -> list[Pass]:
    """Passes with a backward for each target, from the end of the sequence.

    A pass of m targets costs m backwards of its whole prefix s, which is m / 2 tokens longer than needed on
    average, and one forward, or two where the graph is made again: together (s + m / 2) (m + 1 or 2) a
    target, which is least for m = sqrt(2 s) or 2 sqrt(s). Memory (`room` bytes a pass, of which autograd
    keeps `graph_bytes(s)`) may allow fewer. Unless `by_blocks`, the graph is always kept.

    >>> [(part.targets, part.backwards) for part in passes_by_target(
    ...     range(10, 18), lambda position: position, graph_bytes=lambda s: 8 * s, blocks=2, room=1 << 20)]
    [(slice(2, 8, None), 6), (slice(0, 2, None), 2)]
    """
    passes = []
    end = len(positions)
    while end > 0:
        prefix = prefix_of(positions[end - 1])
        graph = graph_bytes(prefix)
        keeps_graph = not by_blocks or has_room_for_graph(graph, room)
        fitting = int(room // 2 // max(1, graph // (blocks if by_blocks else 1)))
        best = round((2 * prefix) ** 0.5 if keeps_graph else 2 * prefix**0.5)
        start = max(0, end - max(1, min(best, fitting)))
        passes.append(Pass(slice(start, end), prefix, keeps_graph, end - start))
        end = start
    return passes
