"""What every attention family is brought to: one attention layer and its four projections."""

from dataclasses import dataclass

from torch import nn

PROJECTIONS = ("q", "k", "v", "o")


@dataclass(frozen=True)
class AttentionLayer:
    """One attention layer.

    Attributes:
        index: its number among the attention layers, from 0.
        name: its module path in the model, for messages.
        attention: the attention module itself.
        projections: "q", "k", "v", "o" to the modules whose outputs and inputs are observed. Under LoRA
            these are the adapted modules, so that the output is that of the effective weight.
    """

    index: int
    name: str
    attention: nn.Module
    projections: dict[str, nn.Module]
