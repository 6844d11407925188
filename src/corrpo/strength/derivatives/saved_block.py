"""A block run once at every position, and again at a few: what `pruned` differentiates.

Between attention calls a decoder's block acts on each position alone, so its derivatives at some positions
need those positions only. A block is run once over the sequence (`save_block`): what its linear maps and its
branches beside the mixer (the MLP) wrote, and its attention calls, are kept. Run again at chosen positions
(`run_at`) every linear map gives what it gave there, at no cost, and goes back by its weight; attention gives
its output as a leaf. What autograd makes of that is the block's own derivative, for any architecture. A
branch goes back at a part of the positions, and is a constant at the rest.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from transformers.pytorch_utils import Conv1D

from corrpo.strength.attention.calls import AttentionCall
from corrpo.strength.attention.gathered_backward import SavedCall, attention_answered_by, saved_call
from corrpo.strength.derivatives.block_chain import Piece, first_output, with_hidden
from corrpo.strength.derivatives.forwards import run_by
from corrpo.strength.derivatives.observation import Observed, observed
from corrpo.strength.projections.projection import MixerLayer


@dataclass(frozen=True)
class SavedBlock:
    """What a block computed at all T positions of one sequence.

    Attributes:
        module: the block.
        piece: what it was called with.
        linear: the output [..., T, d] of each linear map that ran once.
        branches: the output of each branch beside the mixer, as it gave it.
        calls: of attention, in their order.
    """

    module: nn.Module
    piece: Piece
    linear: Mapping[nn.Module, Tensor]
    branches: Mapping[nn.Module, Any]
    calls: Sequence[SavedCall]

    @property
    def length(self) -> int:
        """T."""
        return self.piece.inputs.shape[1]


@dataclass(frozen=True)
class RunAt:
    """A block's graph at R positions.

    Attributes:
        inputs: the leaf [1, R, d].
        output: [1, R, d]; None where the block was run up to its attention alone.
        record: the measured projections that ran, by number: layers outside, projections inside.
        calls: queries, keys and values [1, H, R, d] of each attention call.
        attended: the leaves [1, H, R, d] that stand for their outputs.
    """

    inputs: Tensor
    output: Tensor | None
    record: dict[int, Observed]
    calls: list[AttentionCall]
    attended: list[Tensor]


class _EnoughError(Exception):
    """The last attention call has been given its queries, keys and values."""


def branches_of(block: nn.Module, mixers: set[nn.Module]) -> list[nn.Module]:
    """The children of a block that hold a matrix and no mixer: its MLP, or the linear maps it is made of.

    A block with one child around its mixer is a wrapper (FSDP, checkpointing), whose child is meant.
    """
    children = list(block.children())
    while len(children) == 1 and children[0] not in mixers and not mixers.isdisjoint(children[0].modules()):
        children = list(children[0].children())
    return [
        child
        for child in children
        if mixers.isdisjoint(child.modules()) and any(p.dim() > 1 for p in child.parameters())
    ]


@dataclass(frozen=True)
class Heard:
    """What was heard of a block while it ran.

    Attributes:
        block: the block.
        branches: those kept.
        written: the outputs of each linear map and branch, a list in case it runs again.
        calls: of attention.
    """

    block: nn.Module
    branches: Sequence[nn.Module]
    written: dict[nn.Module, list[Any]]
    calls: list[SavedCall]

    def saved(self, piece: Piece) -> SavedBlock:
        """The block as it ran when it was called with `piece`."""
        length = piece.inputs.shape[1]
        once = {module: outputs[0] for module, outputs in self.written.items() if len(outputs) == 1}
        linear = {m: output for m, output in once.items() if type(m) in (nn.Linear, Conv1D)}
        return SavedBlock(
            module=self.block,
            piece=piece,
            linear={m: output for m, output in linear.items() if output.shape[:-1].numel() == length},
            branches={m: once[m] for m in self.branches if m in once},
            calls=self.calls,
        )


@contextmanager
def heard_of(block: nn.Module, branches: Sequence[nn.Module]) -> Iterator[Heard]:
    """Keep what a block computes while it runs inside."""
    linear = [
        module
        for module in block.modules()
        if type(module) in (nn.Linear, Conv1D) and "forward" not in module.__dict__
    ]
    heard = Heard(block, branches, {module: [] for module in (*linear, *branches)}, [])

    def keep(module: nn.Module) -> Callable[..., Any]:
        forward = module.forward

        def run(*arguments: Any, **options: Any) -> Any:
            heard.written[module].append(forward(*arguments, **options))
            return heard.written[module][-1]

        return run

    def attend(call: AttentionCall) -> Tensor:
        heard.calls.append(saved_call(call))
        return heard.calls[-1].output.to(call.value.dtype).transpose(0, 1)[None]

    with run_by({module: keep(module) for module in heard.written}), attention_answered_by(attend):
        yield heard


def save_block(block: nn.Module, piece: Piece, branches: Sequence[nn.Module]) -> SavedBlock:
    """Run a block over the sequence that `piece` was called with."""
    with torch.no_grad(), heard_of(block, branches) as heard:
        block(*piece.arguments, **piece.options)
    return heard.saved(piece)


def run_at(
    saved: SavedBlock,
    rows: Tensor,
    inner: Tensor | None,
    layers: Sequence[MixerLayer],
    projections: Sequence[str],
    *,
    through: bool = True,
) -> RunAt:
    """A block at some positions, with its graph.

    Args:
        saved: of `save_block`.
        rows: LongTensor [R], the positions.
        inner: LongTensor [r], which of `rows` the branches go back at; None to stop at the attention.
        layers, projections: observed.
        through: whether the block's input is differentiated.
    """
    inputs = _at(saved.piece.inputs, rows, saved.length).detach().requires_grad_(through)
    arguments, options = _at((saved.piece.arguments, saved.piece.options), rows, saved.length)
    arguments, options = with_hidden(arguments, options, inputs)
    calls: list[AttentionCall] = []
    attended: list[Tensor] = []

    def attend(call: AttentionCall) -> Tensor:
        output = saved.calls[len(calls)].output[rows].to(call.value.dtype).transpose(0, 1)[None]
        calls.append(call)
        attended.append(output.requires_grad_(True))
        if inner is None and len(calls) == len(saved.calls):
            raise _EnoughError
        return attended[-1]

    replacements = _replacements(saved, rows, rows[:0] if inner is None else inner)
    output = None
    record: list[Observed] = []
    with run_by(replacements), attention_answered_by(attend):
        try:
            with observed(layers, projections) as record:
                output = first_output(saved.module(*arguments, **options))
        except _EnoughError:
            pass
    ran = {slot: at for slot, at in enumerate(record) if at is not None}
    return RunAt(inputs, output, ran, calls, attended)


def _replacements(saved: SavedBlock, rows: Tensor, inner: Tensor) -> dict[nn.Module, Callable[..., Any]]:
    """The forwards of linear maps and branches at `rows`."""
    current = [rows]

    def linear(module: nn.Module) -> Callable[[Tensor], Tensor]:
        return lambda inputs: _Known.apply(
            inputs, _at(saved.linear[module], current[0], saved.length), module
        )

    replacements: dict[nn.Module, Callable[..., Any]] = {module: linear(module) for module in saved.linear}

    def branch(module: nn.Module) -> Callable[..., Any]:
        forward = replacements.get(module, module.forward)

        def run(*arguments: Any, **options: Any) -> Any:
            constant = _at(saved.branches[module], rows, saved.length)
            if not len(inner):
                return constant
            arguments, options = _at((arguments, options), inner, len(rows))
            current[0] = rows[inner]
            try:
                output = forward(*arguments, **options)
            finally:
                current[0] = rows
            return _put(constant, output, inner, len(rows))

        return run

    return replacements | {module: branch(module) for module in saved.branches}


class _Known(torch.autograd.Function):
    """A linear map whose output is known: back by the weight alone."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, output: Tensor, module: nn.Module) -> Tensor:
        """The output as given."""
        ctx.module = module
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """The derivative at the inputs."""
        weight = ctx.module.weight
        return gradients[0] @ (weight.T if isinstance(ctx.module, Conv1D) else weight), None, None


def _axis(tensor: Tensor, length: int) -> int | None:
    """The axis that counts positions: the first of that size."""
    return tensor.shape.index(length) if length in tensor.shape else None


def _at(tree: Any, rows: Tensor, length: int) -> Any:
    """Every tensor of a nest of containers at some of its `length` positions."""

    def pick(leaf: Any) -> Any:
        axis = _axis(leaf, length) if isinstance(leaf, Tensor) else None
        return leaf if axis is None else leaf.index_select(axis, rows.to(leaf.device))

    return tree_map(pick, tree)


def _put(constant: Any, output: Any, inner: Tensor, length: int) -> Any:
    """`constant` with `output` at some of its `length` positions."""

    def put(whole: Any, part: Any) -> Any:
        axis = _axis(whole, length) if isinstance(whole, Tensor) else None
        return part if axis is None else whole.index_copy(axis, inner.to(whole.device), part)

    return tree_map(put, constant, output)
