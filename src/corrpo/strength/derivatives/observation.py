"""What projections read and write in a forward pass, seen by hooks, and the derivatives at their outputs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from corrpo.errors import UnsupportedModelError
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
        UnsupportedModelError: a module ran twice, as in blocks that share one set of weights, or not at all.
    """
    measured = [layer.projections[kind] for layer in layers for kind in projections]
    names = [f"{kind} of {layer.name}" for layer in layers for kind in projections]
    record: list[Observed] = [None] * len(measured)  # type: ignore
    handles = []
    of_module: dict[nn.Module, list[int]] = {}
    for slot, projection in enumerate(measured):
        of_module.setdefault(projection.module, []).append(slot)

    def keep(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        if not output.requires_grad:
            output.requires_grad_(True)
        inputs = args[0] if args[0].dim() == 3 else args[0].flatten(1, -2)
        for slot in of_module[module]:
            if record[slot] is not None:
                raise _not_run_once(names[slot], "runs more than once")
            record[slot] = Observed(measured[slot], inputs, output)

    try:
        for module in of_module:
            handles.append(module.register_forward_hook(keep))
        with run_as_modules([projection.module for projection in measured if projection.bare]):
            yield record
        for name, observation in zip(names, record, strict=True):
            if observation is None:
                raise _not_run_once(name, "does not run as a module")
    finally:
        for handle in handles:
            handle.remove()


def _not_run_once(name: str, what: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"the projection {name} {what} in a forward pass, and this estimator observes every module once; "
        "use 'reference', or projections of other layers"
    )


def derivatives_at(
    record: Sequence[Observed], differentiate: Callable[[list[Tensor]], Sequence[Tensor]]
) -> list[Tensor]:
    """The derivative at every projection's own output features; projections of one module share one."""
    outputs = distinct_outputs(record)
    return parts_at(record, outputs, differentiate(outputs))


def distinct_outputs(record: Sequence[Observed]) -> list[Tensor]:
    """The outputs of the modules of a record, each once."""
    return list({id(observation.output): observation.output for observation in record}.values())


def parts_at(
    record: Sequence[Observed], outputs: Sequence[Tensor], derivatives: Sequence[Tensor]
) -> list[Tensor]:
    """Each projection's own features of the derivatives at `distinct_outputs(record)`."""
    of = {id(output): derivative for output, derivative in zip(outputs, derivatives, strict=True)}
    return [observation.part(of[id(observation.output)]) for observation in record]
