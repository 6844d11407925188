"""Everything that decides a measurement, with its defaults: one frozen dataclass for Python and the CLI."""

from dataclasses import dataclass
from typing import Any, get_args

from corrpo.errors import BadInputError, check_known
from corrpo.models.generation.sampling import check_sampling, check_seed
from corrpo.models.keywords import plain_settings
from corrpo.samples import Template
from corrpo.statistics.settings import check_settings
from corrpo.strength.spec import GradientSpec


@dataclass(frozen=True, kw_only=True)
class MeasureOptions(GradientSpec):
    """Options of `corrpo.measure` and of `corrpo measure`.

    Raises:
        BadInputError: a value out of its range.
    """

    max_tokens: int | None = None
    """Measure at most this many tokens of each response, drawn at random from equal stretches of it."""
    temperature: float = 1.0
    """Sampling temperature of generated responses; 0 takes the likeliest token."""
    top_p: float = 1.0
    """Draw among the likeliest tokens of this total probability."""
    max_new_tokens: int = 512
    """Longest generated response, in tokens. Those that would be longer are cut, which can change rho."""
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
    """Random halves of the samples behind each interval, a delete-half jackknife with a t quantile, of
    Fisher's z; 0 for no intervals."""
    permutations: int = 1000
    """Permutations of strength within samples behind each permutation p; 0 for none."""
    finished_only: bool = False
    """Measure only responses that ended by themselves, and list those that were cut at max_new_tokens as
    skipped."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(self.confidence, resamples=self.resamples, permutations=self.permutations)
        check_known("template", self.template, get_args(Template))
        check_sampling(self.temperature, self.top_p, self.max_new_tokens)
        if self.max_tokens is not None and self.max_tokens < 2:
            raise BadInputError(f"max_tokens={self.max_tokens}: expected 2 or more, or none for all tokens")
        if self.batch_size < 1:
            raise BadInputError(f"batch_size={self.batch_size}: expected 1 or more")
        check_seed(self.seed)

    def as_dict(self) -> dict[str, Any]:
        """See `plain_settings`; `kept` and `finished_only` are among them only where they say something."""
        settings = plain_settings(self)
        for name in ("kept", "finished_only"):
            if not settings[name]:
                del settings[name]
        return settings
