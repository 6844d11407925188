"""What every family is brought to: one token mixer of a model, and the projections in it by name."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Projection:
    """A linear map: a module, or some of the output features of one that computes several maps at once.

    Attributes:
        module: the module whose input and output are observed. Under LoRA this is the adapted module, so that
            the output is that of the effective weight.
        features: the output features that belong to this map, a slice or a LongTensor; None for all.
        bare: the model does not run the module, and multiplies by its weight itself.
    """

    module: nn.Module
    features: slice | Tensor | None = None
    bare: bool = False

    def of(self, output: Tensor) -> Tensor:
        """This map's part [..., features] of the module's output, or of a derivative at it."""
        return output if self.features is None else output[..., self.features]


@dataclass(frozen=True)
class MixerLayer:
    """One token mixer: the module of a block through which tokens see each other.

    Attributes:
        index: its number among the model's mixers, from 0, in the order of the forward pass.
        name: its module path in the model, for messages.
        mixer: the module itself.
        projections: name to projection. Attention has "q", "k", "v", "o"; other mixers, and whatever else an
            attention holds, the names of their modules.
    """

    index: int
    name: str
    mixer: nn.Module
    projections: Mapping[str, Projection]
