"""`GradientSpec`: which gradient is measured, and how. Everything that measures holds one.

No torch is needed. The fields stand in the order in which JSON files hold them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from typing_extensions import Doc

from corrpo.errors import BadInputError, unknown_name
from corrpo.strength.estimators import DEFAULT_KEPT, EstimatorName, check_estimator, check_kept
from corrpo.strength.estimators.fidelity import told
from corrpo.strength.norms import NormName, check_norm, check_tolerance
from corrpo.strength.projections import PROJECTIONS

TargetName = Literal["logit", "logprob"]
TARGETS: tuple[str, ...] = get_args(TargetName)
_ESTIMATOR = (
    "How gradients are found. exact: all layers, exactly. pruned: all layers, back through the positions of "
    "the largest gradient alone, an approximation. last: the last attention layer alone, exactly, the "
    "cheapest. own: the own-position part of each gradient, all layers, for less than a training step. "
    f"reference: the slow judge. {told()}"
)


@dataclass(frozen=True, kw_only=True)
class GradientSpec:
    """The norm of d z_t / d W_X,l for layers l and projections X, and the way it is found (METHOD 1).

    Projections and layers are kept as tuples.

    Raises:
        BadInputError: an unknown name, a tolerance out of (0, 1) or with another norm than the nuclear, or
            projections that are not distinct names. Layers are checked against the model, once it is there.

    >>> GradientSpec(projections=("q", "o")).norm
    'nuclear'
    """

    estimator: Annotated[EstimatorName, Doc(_ESTIMATOR)] = "exact"
    """How gradients are found, and how well each way was found to agree with exact: see --help."""
    norm: NormName = "nuclear"
    """Norm of each gradient: nuclear is the paper's; the others are controls."""
    tolerance: float | None = None
    """Largest relative error allowed of a nuclear norm, enforced by a bound; rounding alone if not given.
    Not with own; it saves time from some 200 tokens on."""
    target: TargetName = "logit"
    """What is differentiated: the raw logit of the written token (the paper's), or its log-probability, for
    which a positive correlation with entropy is nearly built in."""
    projections: Sequence[str] = PROJECTIONS
    """Attention projections whose gradients are measured."""
    layers: Sequence[int] | None = None
    """Attention layers measured, negative from the end; all if not given (with last: the last)."""
    kept: int | None = None
    """With pruned: at how many positions of its prefix a token's gradient goes back through the MLP, and at
    four times as many through attention; 32 if not given. More are closer to exact, and take longer."""

    def __post_init__(self) -> None:
        check_norm(self.norm)
        check_tolerance(self.tolerance, self.norm)
        check_estimator(self.estimator)
        check_kept(self.kept, self.estimator)
        if self.estimator == "pruned" and self.kept is None:
            object.__setattr__(self, "kept", DEFAULT_KEPT)
        if self.target not in TARGETS:
            raise unknown_name("target", self.target, TARGETS)
        names = self.projections
        if isinstance(names, str) or not names or len(set(names)) < len(names):
            raise BadInputError(
                f"projections={names!r}: expected distinct names, at least one, as in ('q', 'o')"
            )
        object.__setattr__(self, "projections", tuple(names))
        if self.layers is not None:
            object.__setattr__(self, "layers", tuple(self.layers))
