"""`GradientRequest`: one sequence, and the gradients wanted of it; what an estimator is given."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from corrpo.strength.derivatives.user_hooks import UserHook, user_hooks
from corrpo.strength.projections.projection import MixerLayer
from corrpo.strength.spec import GradientSpec


@dataclass(frozen=True)
class GradientRequest:
    """One sequence and the gradients wanted of it.

    Attributes:
        model: a causal LM, already in eval mode.
        input_ids: LongTensor [1, T], without padding, on the model's device.
        positions: LongTensor [n], ascending and distinct, each in [1, T-1]: the tokens whose logit,
            predicted at position - 1, is differentiated. On the model's device.
        layers: the layers measured, each of which holds the projections of `spec`: what its indices select.
        spec: norm, target, tolerance and projections of the gradients.
    """

    model: nn.Module
    input_ids: Tensor
    positions: Tensor
    layers: list[MixerLayer]
    spec: GradientSpec

    def prefix(self, last: int) -> int:
        """How many tokens to read for targets up to position `last`.

        All of the sequence where the model's rotary embedding depends on its length (longrope, dynamic), or
        a user's hook may.
        """
        if self.hooks:
            return self.input_ids.shape[1]
        parameters = getattr(self.model.config.get_text_config(), "rope_parameters", None) or {}  # pyright: ignore
        kinds = [parameters, *(kind for kind in parameters.values() if isinstance(kind, dict))]
        by_length = any(kind.get("rope_type") in ("longrope", "dynamic") for kind in kinds)
        return self.input_ids.shape[1] if by_length else last

    @cached_property
    def hooks(self) -> list[UserHook]:
        """`user_hooks` of the model."""
        return user_hooks(self.model)

    @property
    def rows(self) -> Tensor:
        """LongTensor [n]: the positions at which the targets are predicted, position - 1."""
        return self.positions - 1

    @property
    def tokens(self) -> Tensor:
        """LongTensor [n]: the ids of the tokens that were written."""
        return self.input_ids[0, self.positions]

    def empty_result(self) -> Tensor:
        """Zeros of the shape that estimators return: [n, layers, projections], float64."""
        shape = (len(self.positions), len(self.layers), len(self.spec.projections))
        return self.input_ids.new_zeros(shape, dtype=torch.float64)
