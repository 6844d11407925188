"""Everything that decides a measurement, with its defaults: one frozen dataclass for Python and the CLI."""

from dataclasses import asdict, dataclass
from typing import Any, get_args

from corrpo.errors import BadInputError
from corrpo.models.generation.sampling import check_sampling
from corrpo.samples import Template
from corrpo.statistics.correlation_estimate import check_settings
from corrpo.strength.gradient_norms import Estimator, Target, check_choices
from corrpo.strength.norms import Norm


@dataclass(frozen=True)
class MeasureOptions:
    """Options of `corrpo.measure` and of `corrpo measure`.

    Raises:
        BadInputError: a value out of its range.
    """

    estimator: Estimator = "exact"
    """How gradients are found. exact: all layers, exactly. last: the last attention layer, exactly, for less
    than a training step. own: all layers, an approximation, cheaper still. reference: the slow judge."""
    norm: Norm = "nuclear"
    """Norm of each gradient: nuclear is the paper's; the others are controls."""
    tolerance: float | None = None
    """Largest relative error allowed of a nuclear norm, enforced by a bound; rounding alone if not given.
    With exact and last; it saves time from some 200 tokens on."""
    target: Target = "logit"
    """What is differentiated: the raw logit of the written token (the paper's), or its log-probability, for
    which a positive correlation with entropy is nearly built in."""
    projections: tuple[str, ...] = ("q", "k", "v", "o")
    """Attention projections whose gradients are measured."""
    layers: tuple[int, ...] | None = None
    """Attention layers measured, negative from the end; all if not given (with last: the last)."""
    max_tokens: int | None = None
    """Measure at most this many tokens of each response, drawn at random from equal stretches of it."""
    temperature: float = 1.0
    """Sampling temperature of generated responses; 0 takes the likeliest token."""
    top_p: float = 1.0
    """Draw among the likeliest tokens of this total probability."""
    max_new_tokens: int = 512
    """Longest generated response, in tokens."""
    batch_size: int = 16
    """Responses generated at once. Part of what a seed means: another batch size draws other responses."""
    template: Template = "auto"
    """How a text prompt is read: chat (as a user message), plain (as it stands), auto (chat if the model has
    a chat template). Prompts given as chat messages always go through the template."""
    seed: int = 0
    """Seed of generation, subsampling, resampling and the untrained control."""
    untrained: bool = False
    """Also measure the same responses under random weights of the same architecture, as a control."""
    confidence: float = 0.95
    """Confidence of the intervals."""
    resamples: int = 1000
    """Bootstrap resamples of whole samples behind each interval."""
    permutations: int = 1000
    """Permutations within samples behind each p-value."""

    def __post_init__(self) -> None:
        check_choices(self.estimator, self.norm, self.target, self.projections, self.tolerance)
        check_settings(self.confidence, resamples=self.resamples, permutations=self.permutations)
        if self.template not in get_args(Template):
            raise BadInputError(
                f"template {self.template!r} is unknown; expected one of {', '.join(get_args(Template))}"
            )
        check_sampling(self.temperature, self.top_p, self.max_new_tokens)
        if self.max_tokens is not None and self.max_tokens < 2:
            raise BadInputError(f"max_tokens={self.max_tokens}: expected 2 or more, or none for all tokens")
        if self.batch_size < 1:
            raise BadInputError(f"batch_size={self.batch_size}: expected 1 or more")
        if self.seed < 0:
            raise BadInputError(f"seed={self.seed}: expected 0 or more")

    def as_dict(self) -> dict[str, Any]:
        """JSON-safe: tuples become lists."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }
