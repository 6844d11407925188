"""How much memory the graph of a computation takes at its largest: what autograd keeps for going back."""

from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn


class GraphBytes(torch.autograd.graph.saved_tensors_hooks):
    """As a context: counts what autograd keeps, but for the model's own parameters and buffers.

    A storage counts once however many tensors look at it, for as long as the graph keeps one of them.

    Attributes:
        copies: bytes of copies of weights, which autocast makes, when the graph was largest.
        others: bytes of all else then.

    >>> layer = nn.Linear(3, 5)
    >>> with GraphBytes(layer) as graph:
    ...     _ = (layer(torch.ones(7, 3)) ** 2).sum()
    >>> graph.others == 4 * (7 * 3 + 7 * 5)  # the layer's input, and what is squared
    True
    """

    def __init__(self, model: nn.Module, casts: bool = False) -> None:
        super().__init__(self._keep, lambda kept: kept if isinstance(kept, Tensor) else kept[0])
        parameters = list(model.parameters())
        own = [*parameters, *model.buffers()]
        self._own = {tensor.untyped_storage().data_ptr() for tensor in own}
        self._copied = {shape for p in parameters for shape in (p.shape, p.shape[::-1])} if casts else set()
        self._kept: WeakValueDictionary[int, _Storage] = WeakValueDictionary()
        self._now = {True: 0, False: 0}  # bytes of copies, and of others
        self.copies = self.others = 0

    def __enter__(self) -> "GraphBytes":
        super().__enter__()
        return self

    def _keep(self, tensor: Tensor) -> "Tensor | tuple[Tensor, _Storage]":
        place = tensor.untyped_storage().data_ptr()
        if place in self._own:
            return tensor
        kept = self._kept.get(place)
        if kept is None:
            kept = self._kept[place] = _Storage(
                self, tensor.shape in self._copied, tensor.untyped_storage().nbytes()
            )
        return tensor, kept

    def count(self, is_copy: bool, size: int) -> None:
        """Bytes more, or fewer, that the graph keeps."""
        self._now[is_copy] += size
        if sum(self._now.values()) > self.copies + self.others:
            self.copies, self.others = self._now[True], self._now[False]


class _Storage:
    """What the graph keeps in one place; lives for as long as tensors of it do."""

    def __init__(self, graph: GraphBytes, is_copy: bool, size: int) -> None:
        self._graph, self._is_copy, self._size = graph, is_copy, size
        graph.count(is_copy, size)

    def __del__(self) -> None:
        self._graph.count(self._is_copy, -self._size)
