"""The settings of a build of the lab: stages of training, and what may differ from the shipped models."""

from dataclasses import dataclass, field

from corrpo.errors import BadInputError
from corrpo.lab import FAMILIES
from corrpo.lab.tasks import find_lab_task

WIDTH, HEADS = 80, 4
"""Width of the shipped models, and the attention heads of every width."""
BUILT = (*FAMILIES, "mamba2")
"""Families that can be trained: those that ship, and one without attention."""


@dataclass(frozen=True)
class Stage:
    """How one kind of checkpoint is trained."""

    steps: int
    """Optimizer steps, each on one batch; the most there may be if `stop_at` is set."""
    learning_rate: float
    """Peak AdamW learning rate, reached after `warmup` steps."""
    schedule: str = "cosine"
    """Learning rate schedule after the warm-up, by its transformers name."""
    warmup: int = 50
    """Steps of linear warm-up."""
    stop_at: float | None = None
    """Stop once this share of the validation problems is solved by sampling at temperature 1."""


@dataclass(frozen=True)
class Variant:
    """What may differ from the shipped models."""

    width: int = WIDTH
    """Features of a token: a multiple of 8, as each of 4 heads rotates pairs of them."""
    task: str = "sums"
    """What `reasoning` learns, see `corrpo.lab.tasks`; base and safety learn sums in any case."""
    shipped_base: bool = False
    """Start the other kinds from the shipped base, and train none."""

    def __post_init__(self) -> None:
        find_lab_task(self.task)
        if self.width < 2 * HEADS or self.width % (2 * HEADS):
            raise BadInputError(f"width={self.width}: expected a multiple of {2 * HEADS}, such as {WIDTH}")
        if self.shipped_base and self.width != WIDTH:
            raise BadInputError(
                f"width={self.width}: the shipped base is {WIDTH} wide; train a base of this width instead"
            )


@dataclass(frozen=True)
class LabRecipe:
    """All settings of a build but its seed and families."""

    base: Stage = field(default_factory=lambda: Stage(1200, 2e-3))
    """Pretraining on plain text, direct answers and harmless chats, from random weights."""
    safety: Stage = field(default_factory=lambda: Stage(800, 2e-3))
    """Fine-tuning of the base on refusals in a mixture."""
    reasoning: Stage = field(default_factory=lambda: Stage(3000, 2e-3, "constant_with_warmup", stop_at=0.58))
    """Fine-tuning of the base on worked scratchpads in a mixture."""
    batch_size: int = 32
    """Sequences in a batch."""
    check_every: int = 100
    """Steps between saves of the training state, and between validations where `stop_at` is set."""
    validation: int = 256
    """Validation problems, in neither the training nor the held-out set."""
