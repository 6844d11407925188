"""`Estimator`: what the rest of corrpo needs to know of one way to find the norms of gradients."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from corrpo.strength.derivatives.request import GradientRequest
from corrpo.strength.estimators.passes import Pass
from corrpo.strength.projections import PROJECTIONS
from corrpo.strength.projections.projection import MixerLayer


@dataclass(frozen=True)
class Estimator:
    """One way to find the norms of gradients.

    Attributes:
        name: as users write it.
        label: a few words that go wherever a number of this estimator is shown.
        summary: a sentence or two for reports: what it covers, and how exactly.
        norms: from a request, in the model's `frozen_eval_mode`, to norms [n, layers, projections], float64.
        passes: how it would read and differentiate the sequence of a request, which is what it costs.
        misfit: from a model, the measured layers and projections to the reason why it cannot measure them,
            which follows on "estimator NAME", or None where it can; None for an estimator that fits every
            model.
        is_exact: equal to `reference` up to rounding, in the layers that it measures.
        is_last_layer_alone: it measures the last layer that holds the projections, and no other.
        batched: the same for many padded sequences in one pass, with the entropies of the targets, called and
            answering as `own_batched.batched_own`; None where sequences are read one by one.
        rollout_projections: measured of rollouts in training unless others are asked for.
        rollouts_by_upper_half: whether the upper half of the layers is measured of rollouts unless others are
            asked for; all otherwise.
    """

    name: str
    label: str
    summary: str
    norms: Callable[[GradientRequest], Tensor]
    passes: Callable[[GradientRequest], list[Pass]]
    misfit: Callable[[nn.Module, Sequence[MixerLayer], Sequence[str]], str | None] | None
    is_exact: bool
    is_last_layer_alone: bool = False
    batched: Callable[..., tuple[Tensor, Tensor]] | None = None
    rollout_projections: tuple[str, ...] = PROJECTIONS
    rollouts_by_upper_half: bool = False
