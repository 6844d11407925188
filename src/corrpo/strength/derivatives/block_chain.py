"""A model as a chain of blocks, so that targets are taken back through it block by block.

Most decoders are a list of blocks, each reading the output of the one before. Cut between the blocks, and at
the output of each attention (`attention.manual_backward`), the graph is a chain of short pieces: the
derivatives of a group of targets go back through one piece after another, and a piece can go as soon as it
has been passed. Where the pieces of all blocks would take too much memory, only the inputs of the blocks are
kept, and a piece is made again when its turn comes.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from corrpo.strength.attention.calls import RecordedCall, recorded_calls
from corrpo.strength.attention.manual_backward import attention_derivatives
from corrpo.strength.derivatives.observation import Observed, distinct_outputs, observed, parts_at
from corrpo.strength.derivatives.request import GradientRequest
from corrpo.strength.derivatives.scores import target_scores
from corrpo.strength.projections.mixers import find_mixers
from corrpo.strength.projections.projection import MixerLayer


class NotAChainError(Exception):
    """The blocks of a model do not simply follow one another."""


@dataclass(frozen=True)
class Block:
    """A block of the chain, and the numbers of the measured layers in it among those of the request."""

    module: nn.Module
    layers: tuple[int, ...]


@dataclass
class Piece:
    """One block's pass: what it was called with, and its piece of the graph where that is kept.

    `inputs` and `output` are its hidden states [1, T, d] before and after; `record` is that of `observed`,
    filled when the block has run.
    """

    arguments: tuple[Any, ...]
    options: dict[str, Any]
    inputs: Tensor
    output: Tensor
    record: list
    calls: list[RecordedCall]


@dataclass(frozen=True)
class Deltas:
    """The derivatives of m targets at the projections of one measured layer.

    Attributes:
        layer: its number among the layers of the request.
        record: what its projections read and wrote.
        deltas: for each projection [m, 1, T, d_out].
    """

    layer: int
    record: list[Observed]
    deltas: list[Tensor]


def blocks_of(model: nn.Module, layers: list[MixerLayer]) -> list[Block] | None:
    """The blocks of a model: the elements of the outermost list of modules that holds every mixer."""
    names = [mixer.name for mixer in find_mixers(model)]
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and all(name.startswith(f"{path}.") for name in names):
            return [
                Block(
                    block,
                    tuple(
                        i
                        for i, layer in enumerate(layers)
                        if f"{layer.name}.".startswith(f"{path}.{number}.")
                    ),
                )
                for number, block in enumerate(module)
            ]
    return None


def vector_jacobian_products(
    request: GradientRequest,
    blocks: list[Block],
    positions: Tensor,
    prefix: int,
    *,
    keep: bool = False,
    batched: bool = False,
    together: bool = False,
) -> Iterator[Deltas]:
    """The derivatives of the targets at every measured projection output, from the last block down.

    Args:
        request: the model and the sequence.
        blocks: of `blocks_of`.
        positions: LongTensor [m] of the targets, all at most `prefix`.
        prefix: how many tokens are read.
        keep: keep the graph of every block from the forward pass, in place of making it again.
        batched: differentiate all targets at once, which some operations of some models do not allow.
        together: differentiate the sum of the targets, m = 1, with an attention function that is not cut out.

    Raises:
        NotAChainError: a block does not read what the one before wrote, or is called twice.
    """
    pieces, top, scores = chain_forward(request, blocks, positions, prefix, keep)
    one_each = torch.ones_like(scores)[None] if together else torch.diag(torch.ones_like(scores))
    (at_output,) = differentiate([scores], [top], [one_each], batched)
    assert at_output is not None
    del scores
    lowest = min(i for i, block in enumerate(blocks) if block.layers)
    for number in range(len(blocks) - 1, lowest - 1, -1):
        block, piece = blocks[number], pieces.pop()
        if not keep:
            piece = _again(request, block, piece, through=number > lowest, cut=not together)
        at_output = at_output.to(piece.output.device)
        at_output, deltas = _back(block, piece, at_output, batched, through=number > lowest)
        del piece
        while deltas:
            yield deltas.pop()


def check_chain(request: GradientRequest, positions: Tensor, prefix: int) -> None:
    """Raise `NotAChainError` if the graph of a block, or of the scores, leads into another block.

    Numbers do not tell: a path through a gate that starts at zero has no weight yet.
    """
    blocks = blocks_of(request.model, request.layers)
    assert blocks is not None
    pieces, top, scores = chain_forward(request, blocks, positions, prefix, True)
    starts = [
        {id(x) for x in (piece.inputs, *(o.output for o in piece.record), *(c.output for c in piece.calls))}
        for piece in pieces
    ]
    for number, piece in enumerate(pieces):
        others = set().union(*starts[:number], *starts[number + 1 :]) - starts[number]
        calls = [recorded.call for recorded in piece.calls]
        ends = [piece.output, *(x for call in calls for x in (call.query, call.key, call.value))]
        if _leaves(ends) & others:
            raise NotAChainError
    if _leaves([scores]) & (set().union(*starts) - {id(top)}):
        raise NotAChainError


def _leaves(ends: Sequence[Tensor]) -> set[int]:
    """The ids of the leaves that the graph of some tensors starts from."""
    leaves = {id(end) for end in ends if end.is_leaf}
    nodes, seen = [end.grad_fn for end in ends], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            leaves.add(id(node.variable))  # pyright: ignore[reportAttributeAccessIssue]
        nodes.extend(before for before, _ in node.next_functions)
    return leaves


def differentiate(
    outputs: Sequence[Tensor], wanted: Sequence[Tensor], cotangents: Sequence[Tensor], batched: bool
) -> list[Tensor | None]:
    """The derivatives [m, ...] at `wanted` for m cotangents of each output; None where there is no path."""
    reached = [(o, c.to(o.dtype)) for o, c in zip(outputs, cotangents, strict=True) if o.requires_grad]
    if not reached:
        return [None] * len(wanted)
    ends, given = zip(*reached, strict=True)
    options: dict[str, Any] = {"retain_graph": True, "allow_unused": True}
    if batched:
        return list(torch.autograd.grad(ends, wanted, given, is_grads_batched=True, **options))
    by_target = [
        torch.autograd.grad(ends, wanted, [c[i] for c in given], **options) for i in range(len(given[0]))
    ]
    return [None if row[0] is None else torch.stack(row) for row in zip(*by_target, strict=True)]


def _back(
    block: Block, piece: Piece, at_output: Tensor, batched: bool, *, through: bool
) -> tuple[Tensor, list[Deltas]]:
    """The derivatives at the block's input, and those of its measured layers.

    A block is passed in parts: what follows the last attention, then that attention, then what comes before.
    """
    outputs = distinct_outputs(piece.record)
    ends = [call.output for call in piece.calls]
    wanted = [*([piece.inputs] if through else []), *outputs, *ends]
    derivatives = differentiate([piece.output], wanted, [at_output], batched)
    for recorded in reversed(piece.calls):
        g = derivatives.pop()
        wanted = wanted[:-1]
        if g is not None:
            call = recorded.call
            at_call = attention_derivatives(call, recorded.output, g)
            before = differentiate([call.query, call.key, call.value], wanted, at_call, batched)
            derivatives = [sum_of_paths(a, b) for a, b in zip(derivatives, before, strict=True)]
    filled = zeros_for_none(derivatives, wanted, len(at_output))
    return filled[0], deltas_of(block.layers, piece.record, outputs, filled[through:])


def zeros_for_none(
    derivatives: Sequence[Tensor | None], wanted: Sequence[Tensor], targets: int
) -> list[Tensor]:
    """What `differentiate` gives, with zeros [targets, ...] where there is no path."""
    return [
        tensor.new_zeros(targets, *tensor.shape) if derivative is None else derivative
        for tensor, derivative in zip(wanted, derivatives, strict=True)
    ]


def deltas_of(
    layers: Sequence[int], record: list[Observed], outputs: Sequence[Tensor], derivatives: Sequence[Tensor]
) -> list[Deltas]:
    """The derivatives at `distinct_outputs(record)`, layer by layer.

    Args:
        layers: the numbers of the layers of the record among those of the request.
        record: of `observed`.
        outputs, derivatives: as in `parts_at`.
    """
    parts = parts_at(record, outputs, derivatives)
    width = len(record) // max(1, len(layers))
    return [
        Deltas(layer, record[start : start + width], parts[start : start + width])
        for layer, start in zip(layers, range(0, len(record), width or 1), strict=True)
    ]


def sum_of_paths(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    """The sum of the derivatives along two paths; None stands for no path."""
    if a is None or b is None:
        return b if a is None else a
    return a + b


def chain_forward(
    request: GradientRequest, blocks: list[Block], positions: Tensor, prefix: int, keep: bool
) -> tuple[list[Piece], Tensor, Tensor]:
    """One forward pass: the pieces of all blocks, the output of the last, and the scores as its function.

    Raises:
        NotAChainError: a block does not read what the one before wrote, or is called twice.
    """
    pieces: list[Piece] = []
    numbers = {block.module: i for i, block in enumerate(blocks)}
    lowest = min(i for i, block in enumerate(blocks) if block.layers)
    of_block = [[request.layers[i] for i in block.layers] for block in blocks]
    inside = [ExitStack() for _ in blocks]

    def before(module: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        number = numbers[module]
        inputs = _hidden(arguments, options)
        if number != len(pieces) or (pieces and inputs is not pieces[-1].output):
            raise NotAChainError
        # never with the graph of an embedding whose output requires grad (enable_input_require_grads)
        inputs = inputs.detach().requires_grad_(keep and number > lowest)
        arguments, options = with_hidden(arguments, options, inputs)
        record = (
            inside[number].enter_context(observed(of_block[number], request.spec.projections)) if keep else []
        )
        calls = inside[number].enter_context(recorded_calls()) if keep else []
        pieces.append(Piece(arguments, options, inputs, inputs, record, calls))
        return arguments, options

    def after(module: nn.Module, _arguments: Any, _options: Any, output: Any) -> Any:
        inside[numbers[module]].close()
        piece = pieces[-1]
        piece.output = first_output(output)
        if numbers[module] < len(blocks) - 1:
            return None
        tops.append(piece.output.detach().requires_grad_(True))
        return tops[0] if isinstance(output, Tensor) else (tops[0], *output[1:])

    tops: list[Tensor] = []
    with ExitStack() as unwinding, _hooked(blocks, before, after):
        for stack in inside:  # those of a block that an error leaves half-way
            unwinding.push(stack)
        scores = target_scores(request, positions, prefix)
    if len(pieces) != len(blocks):
        raise NotAChainError
    return pieces, tops[0], scores


@contextmanager
def _hooked(blocks: list[Block], before: Any, after: Any) -> Iterator[None]:
    handles = []
    try:
        for block in blocks:
            handles.append(block.module.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(block.module.register_forward_hook(after, with_kwargs=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _again(request: GradientRequest, block: Block, piece: Piece, *, through: bool, cut: bool) -> Piece:
    """The same pass with its graph."""
    inputs = piece.inputs.detach().requires_grad_(through)
    arguments, options = with_hidden(piece.arguments, piece.options, inputs)
    layers = [request.layers[i] for i in block.layers]
    with observed(layers, request.spec.projections) as record, recorded_calls() as calls:
        output = first_output(block.module(*arguments, **options))
    return Piece(arguments, options, inputs, output, record, calls if cut else [])


def _hidden(arguments: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
    hidden = arguments[0] if arguments else options.get("hidden_states")
    if not isinstance(hidden, Tensor):
        raise NotAChainError
    return hidden


def with_hidden(
    arguments: tuple[Any, ...], options: dict[str, Any], hidden: Tensor
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a block is called with, `hidden` [1, T, d] in place of its hidden states."""
    if arguments:
        return (hidden, *arguments[1:]), options
    return arguments, options | {"hidden_states": hidden}


def first_output(output: Any) -> Tensor:
    """The hidden states [1, T, d] of what a block gives."""
    hidden = output if isinstance(output, Tensor) else output[0]
    if not isinstance(hidden, Tensor):
        raise NotAChainError
    return hidden
