"""What projections read and write in a forward pass, and the derivatives at their outputs.

A projection is seen between the hooks that a user may have put on it: its input is what pre-hooks left of it,
its output is what it computed itself, and the model goes on with what hooks make of that. So the derivative
at the output, times the input, is the derivative by the weight.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from corrpo.errors import UnsupportedModelError
from corrpo.strength.derivatives.forwards import run_by
from corrpo.strength.derivatives.user_hooks import may_change_in_place
from corrpo.strength.derivatives.weight_products import run_as_modules
from corrpo.strength.projections.projection import MixerLayer, Projection


@dataclass(frozen=True)
class Observed:
    """What a measured projection read and wrote in one forward pass.

    Attributes:
        projection: which part of the output is its own.
        inputs: [1, T, d_in].
        output: [1, T, d], or with further axes of one in the middle, as the module gave it: that of the whole
            module, in which targets are differentiated.
    """

    projection: Projection
    inputs: Tensor
    output: Tensor

    def part(self, derivative: Tensor) -> Tensor:
        """The projection's own features [..., 1, T, d] of a derivative [..., *shape of output]."""
        further = self.output.dim() - 3
        return self.projection.of(derivative.flatten(-2 - further, -2) if further else derivative)


@contextmanager
def observed(layers: Sequence[MixerLayer], projections: Sequence[str]) -> Iterator[list[Observed]]:
    """Record every measured projection, layers outside, projections inside.

    An output that carries no graph is made a leaf that requires grad, so the graph starts at the first
    measured projection and no weight needs a gradient. Filled when the forward pass has run.

    Raises:
        UnsupportedModelError: a module ran twice, as in blocks that share one set of weights, or not at all;
            or what it read or wrote was changed in place where that cannot be followed.
    """
    measured = [(layer, kind, layer.projections[kind]) for layer in layers for kind in projections]
    record: list[Observed] = [None] * len(measured)  # type: ignore
    versions: list[tuple[int, int]] = [(0, 0)] * len(measured)
    of_module: dict[nn.Module, list[int]] = {}
    for slot, (_, _, projection) in enumerate(measured):
        of_module.setdefault(projection.module, []).append(slot)

    def seen(module: nn.Module) -> Callable[..., Tensor]:
        forward, slots = module.forward, of_module[module]
        copied = may_change_in_place(module, *(measured[slot][0].mixer for slot in slots))

        def run(given: Tensor, *arguments: Any, **options: Any) -> Tensor:
            output = forward(given, *arguments, **options)
            if not output.requires_grad:
                output.requires_grad_(True)
            inputs = given if given.dim() == 3 else given.flatten(1, -2)
            for slot in slots:
                layer, kind, projection = measured[slot]
                if record[slot] is not None:
                    raise _not_run_once(f"{kind} of {layer.name}", "runs more than once")
                record[slot] = Observed(projection, inputs, output)
                versions[slot] = inputs._version, output._version
            return output.clone() if copied else output

        return run

    with run_by({module: seen(module) for module in of_module}):
        with run_as_modules([projection.module for _, _, projection in measured if projection.bare]):
            yield record
        for (layer, kind, _), at, before in zip(measured, record, versions, strict=True):
            if at is None:
                raise _not_run_once(f"{kind} of {layer.name}", "does not run as a module")
            if (at.inputs._version, at.output._version) != before:
                raise UnsupportedModelError(
                    f"what the projection {kind} of {layer.name} reads or writes is changed in place after "
                    "it has run, which this estimator cannot follow; use 'reference', or a hook that returns "
                    "a new tensor"
                )


def _not_run_once(name: str, what: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"the projection {name} {what} in a forward pass, and this estimator observes every module once; "
        "use 'reference', or projections of other layers"
    )


def derivatives_of(
    ends: Tensor, wanted: Sequence[Tensor], cotangents: Tensor | None = None, *, keep: bool = False
) -> list[Tensor]:
    """The derivatives of the sum of `ends`, times cotangents if given; zeros where no path leads there.

    `keep` keeps the graph. A hook that puts a constant in an output's place cuts every path to it.
    """
    if not ends.requires_grad:
        return [torch.zeros_like(tensor) for tensor in wanted]
    total = ends.sum() if cotangents is None else ends
    options = {"retain_graph": keep, "materialize_grads": True}
    return list(torch.autograd.grad(total, wanted, cotangents, **options))


def derivatives_at(
    record: Sequence[Observed], ends: Tensor, cotangents: Tensor | None = None, *, keep: bool = False
) -> list[Tensor]:
    """`derivatives_of` at every projection's own output features; projections of one module share one."""
    outputs = distinct_outputs(record)
    return parts_at(record, outputs, derivatives_of(ends, outputs, cotangents, keep=keep))


def distinct_outputs(record: Sequence[Observed]) -> list[Tensor]:
    """The outputs of the modules of a record, each once."""
    return list({id(observation.output): observation.output for observation in record}.values())


def parts_at(
    record: Sequence[Observed], outputs: Sequence[Tensor], derivatives: Sequence[Tensor]
) -> list[Tensor]:
    """Each projection's own features of the derivatives at `distinct_outputs(record)`."""
    of = {id(output): derivative for output, derivative in zip(outputs, derivatives, strict=True)}
    return [observation.part(of[id(observation.output)]) for observation in record]
