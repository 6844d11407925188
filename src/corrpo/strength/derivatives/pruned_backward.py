"""Targets taken back through the blocks at the positions that matter: what `pruned` measures.

Between blocks every target has its residual gradient at all positions. In a block,

- the MLP goes back at the `mlp` positions of the largest residual gradient, attention's output and queries
  at the `rows` positions of the largest;
- keys and values go back at the `keys` positions that attention gives most of the rows' gradient
  (`gathered_backward.key_mass`), and only these take part in the softmax's derivative;
- past a pruned branch the residual gradient goes on unchanged, as the block adds its branches to its input.

Norms of parts are smaller the more is dropped. So the deltas that are measured, and nothing that goes on, are
divided by the share of the residual gradient that the kept rows have, sum over kept p of |g_p| over that over
all p; those of keys and values also by the kept keys' share of the mass.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from corrpo.strength.attention.gathered_backward import gathered_derivatives, key_mass
from corrpo.strength.derivatives.block_chain import (
    Block,
    NotAChainError,
    blocks_of,
    chain_forward,
    sum_of_paths,
)
from corrpo.strength.derivatives.forwards import run_by
from corrpo.strength.derivatives.observation import distinct_outputs
from corrpo.strength.derivatives.position_check import check_other_positions
from corrpo.strength.derivatives.request import GradientRequest
from corrpo.strength.derivatives.saved_block import (
    Heard,
    RunAt,
    SavedBlock,
    branches_of,
    heard_of,
    run_at,
    save_block,
)
from corrpo.strength.norms.rounding import vector_lengths
from corrpo.strength.projections.mixers import find_mixers


@dataclass(frozen=True)
class Sizes:
    """How many positions of each target go back: through the MLP, attention's rows, and keys and values."""

    mlp: int
    rows: int
    keys: int

    @classmethod
    def of(cls, kept: int) -> "Sizes":
        """The sizes that a user's one number stands for: the MLP costs most, and matters least."""
        return cls(mlp=kept, rows=4 * kept, keys=4 * kept)


@dataclass(frozen=True)
class Factors:
    """The derivatives of n targets at one measured projection, and what it read there.

    Attributes:
        layer, kind: of the projection, its numbers in the request.
        deltas: [n, r, d_out], divided by the share of what is kept, in float32 or better.
        inputs: [n, r, d_in]; one tensor where projections read one.
    """

    layer: int
    kind: int
    deltas: Tensor
    inputs: Tensor


def pruned_products(
    request: GradientRequest, positions: Tensor, prefix: int, sizes: Sizes, *, keep: bool
) -> Iterator[Factors]:
    """The factors of the targets at every measured projection, block by block from the last down.

    Args:
        request: the model and the sequence.
        positions: LongTensor [n] of the targets, all at most `prefix`.
        prefix: how many tokens are read, 2 or more.
        sizes: how many positions go back.
        keep: keep what all blocks computed from the forward pass, in place of running each again.

    Raises:
        NotAChainError: the blocks of the model do not simply follow one another.
        UnsupportedModelError: something after the last block mixes positions.
    """
    blocks = blocks_of(request.model, request.layers)
    if blocks is None:
        raise NotAChainError
    mixers = {mixer.mixer for mixer in find_mixers(request.model)}
    branches = [branches_of(block.module, mixers) for block in blocks]
    heard: list[Heard] = []

    def hearing(number: int) -> Callable[..., Any]:
        module = blocks[number].module
        forward = module.forward

        def run(*arguments: Any, **options: Any) -> Any:
            with heard_of(module, branches[number]) as one:
                heard.append(one)
                return forward(*arguments, **options)

        return run

    with run_by({block.module: hearing(i) for i, block in enumerate(blocks)} if keep else {}):
        pieces, top, scores = chain_forward(request, blocks, positions, prefix, keep=False)
    g = _at_top(request, top, scores, positions)
    lowest = min(i for i, block in enumerate(blocks) if block.layers)
    known = 1  # after the last block a target has its gradient at its own position alone
    for number in range(len(blocks) - 1, lowest - 1, -1):
        block, piece = blocks[number], pieces.pop()
        saved = heard.pop().saved(piece) if keep else save_block(block.module, piece, branches[number])
        g = g.to(piece.output.device)
        most = Sizes(min(sizes.mlp, known), min(sizes.rows, known), min(sizes.keys, prefix))
        yield from _back(request, block, saved, g, most, through=number > lowest)
        known = min(prefix, known + most.keys)


def _at_top(request: GradientRequest, top: Tensor, scores: Tensor, positions: Tensor) -> Tensor:
    """The residual gradients [n, T, d] at the output of the last block, from one backward of all scores."""
    (at_top,) = torch.autograd.grad(scores.sum(), [top])
    rows = (positions - 1).to(at_top.device)
    check_other_positions(request, rows, at_top[0], "pruned")
    g = at_top.new_zeros(len(rows), *at_top.shape[1:])
    g[torch.arange(len(rows), device=rows.device), rows] = at_top[0, rows]
    return g


def _back(
    request: GradientRequest, block: Block, saved: SavedBlock, g: Tensor, sizes: Sizes, *, through: bool
) -> list[Factors]:
    """The factors of one block; `g` becomes the residual gradient at its input."""
    layers = [request.layers[i] for i in block.layers]
    projections = request.spec.projections
    lengths = vector_lengths(g).to(torch.promote_types(g.dtype, torch.float32))
    rows = lengths.topk(sizes.rows).indices
    share = _share(lengths, rows)
    inner = torch.arange(rows.numel(), device=g.device).view_as(rows)[:, : sizes.mlp].flatten()
    at = run_at(saved, rows.flatten(), inner, layers, projections, through=through)
    assert at.output is not None
    n, width = len(g), g.shape[-1]
    places = rows[..., None].expand(-1, -1, width)
    above = g.gather(1, places).view(1, -1, width)
    wanted = [*([at.inputs] if through else []), *distinct_outputs(list(at.record.values()))]
    derivatives = _vjp([at.output], [*wanted, *at.attended], [above])
    upper, at_ends = derivatives[: len(wanted)], derivatives[len(wanted) :]
    keys, key_share, dq, at_keys = _through_attention(saved, at, at_ends, rows, sizes.keys)
    lower = _vjp([call.query for call in at.calls], wanted, dq)
    total = [sum_of_paths(a, b) for a, b in zip(upper, lower, strict=True)]
    below = run_at(saved, keys.flatten(), None, layers, projections, through=through)
    wanted_below = [*([below.inputs] if through else []), *distinct_outputs(list(below.record.values()))]
    ends = [x for call in below.calls for x in (call.key, call.value)]
    of_keys = _vjp(ends, wanted_below, at_keys)
    if through:
        g.scatter_(1, places, _filled(total.pop(0), at.inputs).to(g.device).view(n, -1, width))
        places = keys[..., None].expand(-1, -1, width)
        g.scatter_add_(1, places, _filled(of_keys.pop(0), below.inputs).to(g.device).view(n, -1, width))
    runs = [(at, total, share), (below, of_keys, share * key_share)]
    return _factors(block.layers, len(projections), runs)


def check_residual_path(request: GradientRequest) -> bool:
    """Whether each block adds its mixer and its branches to its input, and does nothing else to it.

    The derivative of its output at its input, the mixer's and the branches' outputs held constant, is then 1.
    """
    blocks = blocks_of(request.model, request.layers)
    if blocks is None:
        return False
    positions = request.positions
    pieces, _, _ = chain_forward(request, blocks, positions, max(2, int(positions[-1])), keep=False)
    mixers = {mixer.mixer for mixer in find_mixers(request.model)}
    for block, piece in zip(blocks, pieces, strict=True):
        inside = [module for module in block.module.modules() if module in mixers]
        saved = save_block(block.module, piece, [*branches_of(block.module, mixers), *inside])
        everywhere = torch.arange(saved.length, device=piece.output.device)
        run = run_at(saved, everywhere, everywhere[:0], [], ())
        assert run.output is not None
        ones = torch.ones_like(run.output)
        (at_input,) = _vjp([run.output], [run.inputs], [ones])
        if at_input is None or not torch.equal(at_input.to(ones.device), ones):
            return False
    return True


def _through_attention(
    saved: SavedBlock, at: RunAt, at_ends: list[Tensor | None], rows: Tensor, keys: int
) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
    """The kept keys [n, keys] and their share of the mass; the derivatives at each call's queries, and at its
    keys and values in turn.
    """
    g = [
        _filled(derivative, end)[0].transpose(0, 1).unflatten(0, rows.shape)
        for derivative, end in zip(at_ends, at.attended, strict=True)
    ]
    if keys < saved.length:
        masses = [key_mass(call, at_end, rows) for call, at_end in zip(saved.calls, g, strict=True)]
        mass = torch.stack(masses).sum(0)
        kept = mass.topk(keys).indices
        share = _share(mass, kept)
    else:
        kept = torch.arange(saved.length, device=rows.device).expand(len(rows), -1)
        share = torch.ones(len(rows), device=rows.device)
    dq, at_keys = [], []
    for call, at_end in zip(saved.calls, g, strict=True):
        of_query, *others = (_as_heads(x) for x in gathered_derivatives(call, at_end, rows, kept))
        dq.append(of_query)
        at_keys += others
    return kept, share, dq, at_keys


def _share(amounts: Tensor, kept: Tensor) -> Tensor:
    """The share [n] of nonnegative amounts [n, T] that lies at the kept places; 1 where there is nothing."""
    whole = amounts.sum(1)
    return torch.where(whole > 0, amounts.gather(1, kept).sum(1) / whole, 1.0)


def _as_heads(derivative: Tensor) -> Tensor:
    """[n, r, H, d] as [1, H, n r, d]."""
    return derivative.flatten(0, 1).transpose(0, 1)[None]


def _vjp(
    ends: Sequence[Tensor], wanted: Sequence[Tensor], cotangents: Sequence[Tensor]
) -> list[Tensor | None]:
    """The derivatives at `wanted`; None where there is no path."""
    reached = [(end, at.to(end.dtype)) for end, at in zip(ends, cotangents, strict=True) if end.requires_grad]
    if not reached or not wanted:
        return [None] * len(wanted)
    ends, given = zip(*reached, strict=True)
    return list(torch.autograd.grad(ends, wanted, given, retain_graph=True, allow_unused=True))


def _filled(derivative: Tensor | None, at: Tensor) -> Tensor:
    return torch.zeros_like(at) if derivative is None else derivative


def _factors(
    layers: Sequence[int], width: int, runs: Sequence[tuple[RunAt, list[Tensor | None], Tensor]]
) -> list[Factors]:
    """The factors of each projection, of both runs together where both reach it, divided by shares [n]."""
    parts: dict[int, list[tuple[Tensor, Tensor]]] = {}
    read: dict[int, Tensor] = {}
    for run, derivatives, share in runs:
        outputs = distinct_outputs(list(run.record.values()))
        of = {id(output): at for output, at in zip(outputs, derivatives, strict=True)}
        for slot, observation in run.record.items():
            derivative = of[id(observation.output)]
            if derivative is not None:
                delta = observation.part(derivative[None])[0, 0].unflatten(0, (len(share), -1))
                inputs = observation.inputs[0].detach().unflatten(0, (len(share), -1))
                inputs = read.setdefault(id(observation.inputs), inputs)
                parts.setdefault(slot, []).append((delta / share[:, None, None], inputs))
    return [
        Factors(layers[slot // width], slot % width, *map(_joined, zip(*pairs, strict=True)))
        for slot, pairs in parts.items()
    ]


def _joined(parts: tuple[Tensor, ...]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
