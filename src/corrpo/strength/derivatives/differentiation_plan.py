"""How `exact` differentiates a model: tried out once on its first tokens, and remembered.

The quickest way that gives what differentiating the whole graph gives: block by block with attention cut
out (`block_chain`, `attention.manual_backward`); block by block with the model's eager attention, or its own;
the whole graph.
Many targets at once, where every operation of the model allows it (`torch.vmap`), or else one by one.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from math import ceil
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from corrpo.errors import UnsupportedModelError
from corrpo.models.token_limits import vocabulary_size
from corrpo.strength.attention import manual_backward
from corrpo.strength.attention.replacement import replaced_attention, takes_attention_function
from corrpo.strength.derivatives import block_chain
from corrpo.strength.derivatives.block_chain import (
    Deltas,
    NotAChainError,
    deltas_of,
    differentiate,
    zeros_for_none,
)
from corrpo.strength.derivatives.graph_bytes import GraphBytes
from corrpo.strength.derivatives.observation import distinct_outputs, observed
from corrpo.strength.derivatives.request import GradientRequest
from corrpo.strength.derivatives.scores import target_scores
from corrpo.strength.norms.rounding import vector_lengths
from corrpo.strength.projections.mixers import find_layers

_TRIED_TOKENS = 4
_TOLERANCES = {torch.float64: 1e-3, torch.float32: 1e-2}
_HALF_TOLERANCE = 0.25


@dataclass(frozen=True)
class Plan:
    """How the targets of one model are taken back.

    Attributes:
        backend: the attention function put in the model's place; None leaves its own.
        chain: block by block; else the whole graph at once.
        batched: many targets at once.
        token_bytes: what autograd keeps of activations in all blocks together, for each token of a prefix.
        pair_bytes: the same for each pair of tokens, where attention weights are among them.
        copy_bytes: what it keeps of weights that autocast has made copies of.
    """

    backend: str | None
    chain: bool
    batched: bool
    token_bytes: int = 0
    pair_bytes: int = 0
    copy_bytes: int = 0

    def graph_bytes(self, prefix: int) -> int:
        """What autograd keeps of a prefix in all blocks together."""
        return self.copy_bytes + self.token_bytes * prefix + self.pair_bytes * prefix**2

    def attention(self, model: nn.Module) -> AbstractContextManager[None]:
        """The model with this plan's attention function."""
        if self.backend is None:
            return nullcontext()
        return replaced_attention(model, self.backend, "exact", "'reference'")

    def products(
        self, request: GradientRequest, positions: Tensor, prefix: int, keep: bool = True
    ) -> Iterator[Deltas]:
        """The derivatives of the targets at `positions` at all measured projections, layer by layer."""
        if not self.chain:
            return _whole_graph(request, positions, prefix, self.batched)
        blocks = block_chain.blocks_of(request.model, request.layers)
        assert blocks is not None
        return block_chain.vector_jacobian_products(
            request, blocks, positions, prefix, keep=keep, batched=self.batched
        )


_plans: WeakKeyDictionary[nn.Module, dict[Any, Plan]] = WeakKeyDictionary()


def plan_for(request: GradientRequest) -> Plan:
    """The plan of a model, tried on the first tokens of the request; remembered for later requests alike.

    What decides it is how the model's code passes tensors from block to block, which does not change with
    weights. Another dtype, modules added or exchanged, and other projections are tried anew; so are hooks of
    a user and, with them, another length, as they may look at any position.
    """
    plans, kind = _plans.setdefault(request.model, {}), alike(request)
    if kind in plans:
        return plans[kind]
    short = short_request(request)
    tokens = short.prefix(int(short.positions[-1]))
    plan = _tried(short, tokens)
    if request.hooks or tokens == _TRIED_TOKENS:
        plans[kind] = plan
    return plan


def short_request(request: GradientRequest) -> GradientRequest:
    """The last two of the first few tokens of a request, in all layers: what a model is tried out on.

    The last target of the request itself where a user's hook may look at any position. Where attention has
    nothing to choose, among tokens that are alike or before the second, Q and K have no gradient but
    rounding: so tokens are three at least, and those that come again give way to others.
    """
    layers = find_layers(request.model, request.spec.projections)
    if request.hooks:
        return replace(request, layers=layers, positions=request.positions[-1:])
    given = request.input_ids[0, : _TRIED_TOKENS + 1].tolist()
    ids = _distinct(given if len(given) > 2 else [*given, given[0]], vocabulary_size(request.model))
    return replace(
        request,
        input_ids=torch.tensor([ids], device=request.input_ids.device),
        layers=layers,
        positions=torch.arange(len(ids) - 2, len(ids), device=request.input_ids.device),
    )


def _distinct(ids: list[int], vocabulary: int) -> list[int]:
    """Token ids with others, the smallest that are left, in place of those that come again.

    >>> _distinct([5, 5, 0, 5], 9), _distinct([1, 1, 1], 2)
    ([5, 1, 0, 2], [1, 0, 1])
    """
    others = (number for number in range(vocabulary) if number not in ids)
    return [number if number not in ids[:place] else next(others, number) for place, number in enumerate(ids)]


def computing_dtype(request: GradientRequest) -> torch.dtype:
    """The dtype that projections compute in: under autocast not that of the weights."""
    with observed(request.layers[:1], request.spec.projections[:1]) as record:
        target_scores(request, request.positions, request.prefix(int(request.positions[-1])))
    return record[0].output.dtype


def alike(request: GradientRequest) -> Any:
    """What a model and a request have in common with those of the same plan."""
    modules = tuple((id(module), type(module)) for module in request.model.modules())
    hooks = tuple((hook.number, hook.kind) for hook in request.hooks)
    length = request.input_ids.shape[1] if hooks else None
    dtypes = frozenset(parameter.dtype for parameter in request.model.parameters())
    device = request.input_ids.device.type
    cast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    where = (device, cast, takes_attention_function(request.model))
    return modules, hooks, length, dtypes, request.spec.projections, where


def _tried(request: GradientRequest, prefix: int) -> Plan:
    swaps = takes_attention_function(request.model)
    at_once = Plan("eager" if swaps else None, chain=False, batched=True)
    try:
        truth = _deltas(request, at_once, prefix)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:  # an operation without a batching rule
        at_once = replace(at_once, batched=False)
        truth = _deltas(request, at_once, prefix)
    goes_back = any(hook.goes_back for hook in request.hooks)  # sees the parts of a block, not the whole
    if not goes_back and block_chain.blocks_of(request.model, request.layers) is not None:
        for backend in [manual_backward.BACKEND, "eager"] if swaps else [None]:
            for batched in [True, False] if at_once.batched else [False]:
                plan = Plan(backend, chain=True, batched=batched)
                if _agrees(request, plan, prefix, truth):
                    return _with_bytes(request, plan, prefix)
    return _with_bytes(request, at_once, prefix)


def _deltas(request: GradientRequest, plan: Plan, prefix: int, keep: bool = True) -> dict[int, Tensor]:
    """The derivatives of each layer in one row."""
    with plan.attention(request.model):
        return {
            layer.layer: torch.cat([delta.flatten().double() for delta in layer.deltas])
            for layer in plan.products(request, request.positions, prefix, keep)
        }


def _agrees(request: GradientRequest, plan: Plan, prefix: int, truth: dict[int, Tensor]) -> bool:
    """Whether a chain gives `truth`, its graph kept or made again, and no path beside it exists."""
    try:
        by_blocks = [_deltas(request, plan, prefix, keep) for keep in (True, False)]
        with plan.attention(request.model):
            block_chain.check_chain(request, request.positions, prefix)
    except torch.OutOfMemoryError:
        raise
    except (NotAChainError, UnsupportedModelError, RuntimeError):
        return False
    tolerance = _TOLERANCES.get(computing_dtype(request), _HALF_TOLERANCE)
    return all(deltas.keys() == truth.keys() for deltas in by_blocks) and all(
        vector_lengths(deltas[layer] - truth[layer]) <= tolerance * vector_lengths(truth[layer])
        for deltas in by_blocks
        for layer in truth
    )


def _with_bytes(request: GradientRequest, plan: Plan, prefix: int) -> Plan:
    """The plan with what its graph keeps: measured over `prefix`, and over less for what grows faster.

    Over `prefix` alone where the model reads all of a sequence whatever is asked.
    """
    copies, kept = _graph_bytes(request, plan, prefix)
    of_pair = 0.0
    if prefix > 2 and request.prefix(prefix - 2) == prefix - 2:
        shorter, shortest = (_graph_bytes(request, plan, length)[1] for length in (prefix - 1, prefix - 2))
        of_pair = max(0.0, (kept - 2 * shorter + shortest) / 2)
    of_token = kept / prefix - of_pair * prefix
    return replace(plan, token_bytes=ceil(of_token), pair_bytes=ceil(of_pair), copy_bytes=copies)


def _graph_bytes(request: GradientRequest, plan: Plan, prefix: int) -> tuple[int, int]:
    """Bytes that the graph of a prefix holds of copies of weights, and of all else but the model's own."""
    device = request.input_ids.device
    position = torch.tensor([min(prefix, len(request.input_ids[0]) - 1)], device=device)
    casts = torch.is_autocast_enabled(device.type)
    with plan.attention(request.model), GraphBytes(request.model, casts) as graph:
        for _ in plan.products(request, position, prefix):
            pass
    return graph.copies, graph.others


def _whole_graph(request: GradientRequest, positions: Tensor, prefix: int, batched: bool) -> Iterator[Deltas]:
    with observed(request.layers, request.spec.projections) as record:
        scores = target_scores(request, positions, prefix)
    outputs = distinct_outputs(record)
    one_each = torch.eye(len(positions), dtype=scores.dtype, device=scores.device)
    derivatives = zeros_for_none(
        differentiate([scores], outputs, [one_each], batched), outputs, len(positions)
    )
    yield from deltas_of(range(len(request.layers)), record, outputs, derivatives)
