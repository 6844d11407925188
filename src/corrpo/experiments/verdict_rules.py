"""What is compared with what, and by which rules: the section `analysis` of a recipe, and its rules."""

from dataclasses import dataclass, field
from typing import Literal

from corrpo.errors import BadInputError

Kind = Literal["supported", "not supported", "undecided"]
"""The verdicts."""
RULES = (
    "The outcome of a run on a problem is pass@k of its generations. Arms are paired by seed and problem; "
    "the models are averaged, as fixed. The mean difference has the wider of two intervals and the larger of "
    "two p-values: that of crossed random effects (seeds and problems; variance "
    "(MS_s + max(MS_p - MS_r, 0)) / SP, Satterthwaite's degrees of freedom, at least min(S, P) - 1), and "
    "that of a t over the seeds' means.",
    "Compared are the treatment and the baseline, and the treatment and each control. Two-sided p-values are "
    "corrected by Holm over these comparisons; the intervals hold together, by Bonferroni.",
    "The inversion is stronger in the treatment if its change in rho less that of the baseline, paired by "
    "seed and averaged over the models, has a t interval over seeds that lies below 0, at level alpha. If it "
    "has not, the verdict is undecided: the experiment did not do what was to be tried.",
    "Supported: the treatment is better than the baseline and than every control, each with a corrected p "
    "at or below alpha.",
    "Not supported: otherwise, if for the baseline or one of the controls the upper end of the interval is "
    "below the smallest effect of interest.",
    "Undecided: otherwise.",
    "So each wrong verdict comes out in alpha / 2 of experiments at most.",
)
"""The verdict in words; part of the pre-registration."""


@dataclass(frozen=True)
class Analysis:
    """The comparisons that decide, and their rules.

    Attributes:
        treatment: the arm whose gain is in question.
        baseline: the arm it must beat.
        controls: the arms that remove or fix the inversion, which it must beat too. Not among them by
            default is `constant`, which without a gate trains as the baseline does.
        also: pairs of other arms, each with what it is compared with; they decide nothing.
        k: the outcome is pass@k; the first of several decides, the others are reported beside it.
        smallest_effect: the smallest difference in accuracy that is of interest, in (0, 1).
        alpha: two-sided level of the family of comparisons: "supported" and "not supported" each come out
            wrongly in half of it at most.
        power: what a difference is planned to be found with.

    Raises:
        BadInputError: a number out of its range, or an arm that is compared with itself.
    """

    treatment: str = "corrpo"
    baseline: str = "grpo"
    controls: list[str] = field(default_factory=lambda: ["negate", "shuffle", "clamp"])
    also: dict[str, str] = field(default_factory=dict)
    k: list[int] = field(default_factory=lambda: [1])
    smallest_effect: float = 0.02
    alpha: float = 0.05
    power: float = 0.8

    def __post_init__(self) -> None:
        compared = self.compared
        if len(set(compared)) < len(compared) or self.treatment in compared:
            raise BadInputError(
                f"treatment {self.treatment!r}, baseline {self.baseline!r}, controls {self.controls}: "
                "expected arms that differ"
            )
        for arm, other in self.also.items():
            if not isinstance(other, str) or arm == other:
                raise BadInputError(f"also: {arm!r} with {other!r}: expected the name of another arm")
        if not self.k or min(self.k) < 1 or len(set(self.k)) < len(self.k):
            raise BadInputError(f"k={self.k}: expected one or more numbers from 1 on, each once")
        for name in ("smallest_effect", "alpha"):
            if not 0 < getattr(self, name) < 1:
                raise BadInputError(f"{name}={getattr(self, name)}: expected a number between 0 and 1")
        if not self.alpha < self.power < 1:
            raise BadInputError(f"power={self.power}: expected a number between alpha={self.alpha} and 1")

    @property
    def compared(self) -> tuple[str, ...]:
        """The arms that the treatment is compared with: the baseline, then the controls."""
        return (self.baseline, *self.controls)
