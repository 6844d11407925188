"""`InversionSettings`: what CorR-PO adds to the settings of a group policy optimization, on any engine.

Every field starts with `inversion_`, so that the config of an engine can inherit them beside its own, and is
checked when the config is made. To import it needs no torch, and no engine.
"""

import math
from dataclasses import dataclass, field

from corrpo.errors import BadInputError, did_you_mean, unknown_name
from corrpo.rewards.choices import (
    CONTROL_NAMES,
    GATE_NAMES,
    SCHEDULE_NAMES,
    SHAPE_NAMES,
    STATISTIC_NAMES,
)
from corrpo.strength.estimators import DEFAULT_KEPT, ESTIMATORS, estimator_named
from corrpo.strength.estimators.fidelity import told
from corrpo.strength.projections import PROJECTIONS
from corrpo.strength.spec import GradientSpec

INVERSION_STATE = "inversion_state.json"
"""The file of a checkpoint that keeps the `InversionState` of its run."""

DEFAULT_FIT_TOKENS = 16
"""Tokens of a rollout that are judged for the regression, unless told."""

_CHOICES = {
    "inversion_schedule": SCHEDULE_NAMES,
    "inversion_gate": GATE_NAMES,
    "inversion_statistic": STATISTIC_NAMES,
    "inversion_shape": SHAPE_NAMES,
    "inversion_control": CONTROL_NAMES,
}


def _help(text: str) -> dict[str, str]:
    return {"help": text}


@dataclass
class InversionSettings:
    """What CorR-PO adds to a group policy optimization (METHOD 6); a mixin of the configs of engines.

    Raises:
        BadInputError: a value out of its range, or a name that is not known; says which are.
    """

    inversion_weight: float = field(
        default=0.5,
        metadata=_help(
            "lambda: weight of the inversion reward beside the task rewards. 0 trains as TRL does."
        ),
    )
    inversion_schedule: str = field(
        default="constant",
        metadata=_help(
            "How the weight moves over training: constant, linear or cosine (falling to 0), warmup (rising "
            "over the first tenth)."
        ),
    )
    inversion_gate: str = field(
        default="all",
        metadata=_help(
            "Rollouts that get the inversion reward: all, correct or incorrect (by the first task reward)."
        ),
    )
    inversion_statistic: str = field(
        default="spearman",
        metadata=_help(
            "Correlation of entropy and gradient strength over a rollout's tokens: spearman, pearson, or "
            "position_partial (spearman with the position in the response held constant)."
        ),
    )
    inversion_shape: str = field(
        default="identity",
        metadata=_help("What the reward makes of rho: identity, relu (rewards negative rho only), fisher."),
    )
    inversion_estimator: str = field(
        default="own",
        metadata=_help(
            "How gradient strengths are found: own (from the own-position part of each gradient, cheap; see "
            "inversion_fit_tokens), last (the last layer alone), pruned, exact, reference. "
            f"{told(training=True)}"
        ),
    )
    inversion_fit_tokens: int | None = field(
        default=None,
        metadata=_help(
            "With own: the strength of the whole gradient follows from its own-position parts by a "
            "regression over tokens whose whole strength is found by pruned (or exact, where that does not "
            "fit the model): so many of one rollout in eight, of eight to fifteen rollouts in the first "
            f"batch. Default: {DEFAULT_FIT_TOKENS}. 0 takes the own-position part itself."
        ),
    )
    inversion_projections: list[str] | None = field(
        default=None,
        metadata=_help(
            "Projections measured, of q k v o. Default: all four; q and o with own and no fit tokens."
        ),
    )
    inversion_layers: list[int] | None = field(
        default=None,
        metadata=_help(
            "Attention layers measured, negative from the end. Default: all; the last with last, the upper "
            "half with own and no fit tokens."
        ),
    )
    inversion_kept: int | None = field(
        default=None,
        metadata=_help(
            "With pruned: positions of its prefix at which a token's gradient goes back through the MLP, and "
            f"four times as many through attention. Default: {DEFAULT_KEPT}."
        ),
    )
    inversion_max_tokens: int | None = field(
        default=None,
        metadata=_help(
            "Correlate at most this many tokens of a rollout, drawn from equal stretches of it. Default: "
            "all. Few tokens make rho noisy; with own they save next to nothing."
        ),
    )
    inversion_min_tokens: int = field(
        default=8,
        metadata=_help(
            "A rollout of fewer tokens has no rho and gets the mean inversion reward of its group, so that "
            "shrinking to nothing is not rewarded."
        ),
    )
    inversion_control: str = field(
        default="none",
        metadata=_help(
            "A placebo in place of the inversion reward: none (the real one), "
            f"{', '.join(CONTROL_NAMES[1:])}."
        ),
    )

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            value = getattr(self, name)
            if value not in known:
                hint = did_you_mean(value, known)
                raise BadInputError(f"{name}={value!r} is unknown; expected one of {', '.join(known)}{hint}")
        weight = self.inversion_weight
        if not isinstance(weight, int | float) or not math.isfinite(weight):
            raise BadInputError(f"inversion_weight={weight!r}: expected a finite number")
        if self.inversion_estimator not in ESTIMATORS:
            raise unknown_name("inversion_estimator", self.inversion_estimator, ESTIMATORS)
        self._check_whole_numbers()
        tokens = self.inversion_fit_tokens
        if tokens is not None and (tokens < 0 or self.inversion_estimator != "own"):
            raise BadInputError(
                f"inversion_fit_tokens={tokens} with inversion_estimator={self.inversion_estimator!r}: "
                "expected a number of tokens, 0 or more, with 'own', and none with others"
            )
        _ = self.gradient  # refuses projections that are not distinct names, and kept where nothing is pruned
        if self.inversion_min_tokens < 3:
            raise BadInputError(
                f"inversion_min_tokens={self.inversion_min_tokens}: expected 3 or more; fewer have no rho"
            )
        longest = getattr(self, "max_completion_length", None)
        if longest is not None and longest < self.inversion_min_tokens:
            raise BadInputError(
                f"max_completion_length={longest} is below inversion_min_tokens={self.inversion_min_tokens}: "
                "no rollout could have a rho; raise the one or lower the other"
            )
        most = self.inversion_max_tokens
        if most is not None and most < self.inversion_min_tokens:
            raise BadInputError(
                f"inversion_max_tokens={most}: expected at least inversion_min_tokens="
                f"{self.inversion_min_tokens}, or none for all tokens"
            )
        post_init = getattr(super(), "__post_init__", None)
        if post_init is not None:
            post_init()

    def _check_whole_numbers(self) -> None:
        for name in ("fit_tokens", "kept", "max_tokens", "min_tokens"):
            value = getattr(self, f"inversion_{name}")
            if value is not None and type(value) is not int:
                raise BadInputError(f"inversion_{name}={value!r}: expected a whole number")

    @property
    def fit_tokens(self) -> int:
        """Tokens of a rollout that are judged for `corrpo.rewards.strength_fit`; 0 where nothing is fitted.

        >>> InversionSettings().fit_tokens, InversionSettings(inversion_estimator="exact").fit_tokens
        (16, 0)
        """
        if self.inversion_estimator != "own":
            return 0
        return DEFAULT_FIT_TOKENS if self.inversion_fit_tokens is None else self.inversion_fit_tokens

    @property
    def gradient(self) -> GradientSpec:
        """Which gradient is measured, and how; `layers` are those asked for, see `measured_layers`."""
        projections, layers = self.inversion_projections, self.inversion_layers
        if projections is None:
            own = estimator_named(self.inversion_estimator).rollout_projections
            projections = PROJECTIONS if self.fit_tokens else own
        return GradientSpec(
            estimator=self.inversion_estimator,  # pyright: ignore[reportArgumentType]
            projections=tuple(projections),
            layers=None if layers is None else tuple(layers),
            kept=self.inversion_kept,
        )

    def measured_layers(self, n_layers: int) -> list[int] | None:
        """The attention layers asked for of a model of `n_layers`, or the estimator's default ones.

        >>> InversionSettings(inversion_fit_tokens=0).measured_layers(5)
        [2, 3, 4]
        """
        takes_upper_half = estimator_named(self.inversion_estimator).rollouts_by_upper_half
        if self.inversion_layers is not None or self.fit_tokens or not takes_upper_half:
            return self.inversion_layers
        return list(range(n_layers // 2, n_layers))
