"""The rule of `pruned` in plain code: one target at a time, every block at all positions, gradients masked.

Where a position is pruned, what a branch or an attention wrote is detached: a constant to autograd. The
norm of what is kept is divided by the share that it is of the whole.
"""

from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from corrpo.strength.derivatives.block_chain import blocks_of
from corrpo.strength.derivatives.pruned_backward import Sizes
from corrpo.strength.norms.factored import matrix_norm
from corrpo.strength.projections import PROJECTIONS
from corrpo.strength.projections.mixers import find_attention_layers

NAME = "eager_pruned_judge"


def kept_at(places: Tensor, tensor: Tensor, axis: int) -> Tensor:
    """The same numbers, constant but at some places of an axis."""
    mask = torch.zeros(tensor.shape[axis], dtype=torch.bool).index_fill(0, places, True)
    mask = mask.view([-1 if i == axis % tensor.dim() else 1 for i in range(tensor.dim())])
    return torch.where(mask, tensor, tensor.detach())


@dataclass
class Seen:
    """What the attention calls of one run of a block saw, and the keys that they differentiate."""

    keys: Tensor = field(default_factory=lambda: torch.arange(0))
    weights: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)

    def begin(self, keys: Tensor) -> None:
        """Forget an earlier run."""
        self.keys, self.weights, self.outputs = keys, [], []


SEEN = Seen()


def attention(_module, query, key, value, attention_mask, scaling=None, softcap=None, **_):
    """Softmax attention [1, T, H, d]; keys that are not kept are constants, and so are their scores."""
    groups = query.shape[1] // key.shape[1]
    key, value = (kept_at(SEEN.keys, x, 2).repeat_interleave(groups, 1) for x in (key, value))
    scores = query @ key.mT * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = kept_at(SEEN.keys, scores, -1)
    alpha = torch.softmax(scores + attention_mask, dim=-1)
    output = alpha @ value
    SEEN.weights.append(alpha.detach())
    SEEN.outputs.append(output)
    return output.transpose(1, 2), alpha


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, eager_mask)


def pruned_by_hand(model: nn.Module, ids: Tensor, positions: Tensor, sizes: Sizes) -> Tensor:
    """Nuclear norms [n, layers, 4], for sizes that may exceed the number of tokens."""
    layers = find_attention_layers(model)
    blocks = blocks_of(model, layers)
    given = {}
    handles = [
        block.module.register_forward_pre_hook(
            lambda module, args, options: given.update({module: (args, options)}), with_kwargs=True
        )
        for block in blocks
    ]
    tops = []
    handles.append(blocks[-1].module.register_forward_hook(lambda *call: tops.append(call[-1])))
    model.set_attn_implementation(NAME)
    logits = model(input_ids=ids[None, : int(positions.max())], use_cache=False).logits[0]
    top = tops[0] if isinstance(tops[0], Tensor) else tops[0][0]
    for handle in handles:
        handle.remove()
    result = torch.zeros(len(positions), len(layers), len(PROJECTIONS), dtype=torch.float64)
    for i, position in enumerate(positions.tolist()):
        (g,) = torch.autograd.grad(logits[position - 1, ids[position]], [top], retain_graph=True)
        known = 1
        for block in reversed(blocks):
            g, norms = back(block, layers[block.layers[0]], given[block.module], g, sizes, known)
            known += sizes.keys
            result[i, block.layers[0]] = norms
    return result


def back(block, layer, given, g: Tensor, sizes: Sizes, known: int) -> tuple[Tensor, Tensor]:
    """One target through one block: the gradient at its input, and the norms of its layer."""
    length = g.shape[1]
    lengths = g[0].norm(dim=-1)
    order = lengths.argsort(descending=True)
    rows, inner = (order[: min(size, known, length)] for size in (sizes.rows, sizes.mlp))
    share = lengths[rows].sum() / lengths.sum()
    args, options = given
    hidden = (args[0] if args else options["hidden_states"]).detach().requires_grad_(True)

    def run(keys: Tensor):
        SEEN.begin(keys)
        with pruned(block.module, layer, rows, inner) as record:
            if args:
                output = block.module(hidden, *args[1:], **options)
            else:
                output = block.module(**options | {"hidden_states": hidden})
        return (output if isinstance(output, Tensor) else output[0]), record

    output, _ = run(torch.arange(length))
    at_outputs = torch.autograd.grad(output, SEEN.outputs, g)
    mass = sum(
        torch.einsum("hps,hp->s", alpha[0][:, rows], at[0][:, rows].norm(dim=-1))
        for alpha, at in zip(SEEN.weights, at_outputs, strict=True)
    )
    keys = mass.argsort(descending=True)[: sizes.keys]
    output, record = run(keys)
    shares = {"q": share, "o": share} | dict.fromkeys("kv", share * mass[keys].sum() / mass.sum())
    projections = [layer.projections[kind] for kind in PROJECTIONS]
    at_input, *at_modules = torch.autograd.grad(
        output, [hidden, *(record[p.module][1] for p in projections)], g
    )
    norms = []
    for kind, projection, delta in zip(PROJECTIONS, projections, at_modules, strict=True):
        inputs = record[projection.module][0].detach().flatten(0, -2)
        gradient = projection.of(delta).flatten(0, -2).T @ inputs
        norms.append(matrix_norm(gradient) / shares[kind])
    return at_input, torch.stack(norms)


@contextmanager
def pruned(block: nn.Module, layer, rows: Tensor, inner: Tensor):
    """A block whose mixer and branches are constants outside the kept positions; what its modules saw."""
    record, handles = {}, []

    def constant_outside(places: Tensor):
        def hook(_module, _args, output):
            if isinstance(output, tuple):
                return kept_at(places, output[0], -2), *output[1:]
            return kept_at(places, output, -2)

        return hook

    for projection in layer.projections.values():
        handles.append(
            projection.module.register_forward_hook(
                lambda module, args, output: record.update({module: (args[0], output)})
            )
        )
    handles.append(layer.mixer.register_forward_hook(constant_outside(rows)))
    for child in block.children():
        holds_mixer = any(module is layer.mixer for module in child.modules())
        if not holds_mixer and any(p.dim() > 1 for p in child.parameters()):
            handles.append(child.register_forward_hook(constant_outside(inner)))
    try:
        yield record
    finally:
        for handle in handles:
            handle.remove()
