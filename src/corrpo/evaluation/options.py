"""Everything that decides an evaluation, with its defaults: one frozen dataclass for Python and the CLI."""

from dataclasses import dataclass
from typing import Any, get_args

from corrpo.errors import BadInputError, check_known
from corrpo.models.generation.backend import BackendName, check_backend, find_backend
from corrpo.models.generation.sampling import check_sampling, check_seed
from corrpo.models.keywords import plain_settings
from corrpo.samples import Template
from corrpo.samples.options import check_request


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Options of `corrpo.evaluation.evaluate` and of `corrpo evaluate`.

    Raises:
        BadInputError: a value out of its range.
    """

    n: int | None = None
    """Generations for each problem; the suite's own number if not given (16 for AIME, 4 for AMC, else 1)."""
    k: tuple[int, ...] = ()
    """The k of pass@k; 1 and n if not given."""
    temperature: float = 0.6
    """Sampling temperature; 0 takes the likeliest token. 0.6 with top_p 0.95 is usual for such models."""
    top_p: float = 0.95
    """Draw among the likeliest tokens of this total probability."""
    max_new_tokens: int = 8192
    """Longest generation, in tokens, if the model's context leaves so much."""
    prompt: str | None = None
    """What is asked, with {problem} in its place; the suite's own if not given: to reason step by step, and
    to put the final answer within \\boxed{}."""
    template: Template = "auto"
    """chat: as a user message through the chat template; plain: as it stands; auto: chat if there is one."""
    backend: BackendName | str = "transformers"
    """What writes the generations."""
    batch_size: int | None = None
    """Generations at once, 16 (transformers) or 1024 (vllm) if not given. Part of what a seed means."""
    seed: int = 0
    """Seed of the generations, and of the problems of rg:TASK."""
    problems: int | None = None
    """The first so many problems of each suite; all if not given (100 of rg:TASK)."""
    confidence: float = 0.95
    """Confidence of the intervals."""

    def __post_init__(self) -> None:
        check_sampling(self.temperature, self.top_p, self.max_new_tokens)
        for name in ("n", "batch_size", "problems"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BadInputError(f"{name}={value}: expected 1 or more")
        if any(k < 1 for k in self.k) or (self.n is not None and any(k > self.n for k in self.k)):
            raise BadInputError(f"k={list(self.k)}: expected numbers from 1 to n={self.n}")
        if self.prompt is not None:
            check_request("prompt", self.prompt)
        check_known("template", self.template, get_args(Template))
        check_backend(self.backend)
        if not 0 < self.confidence < 1:
            raise BadInputError(f"confidence={self.confidence}: expected a number between 0 and 1")
        check_seed(self.seed)

    @property
    def batch(self) -> int:
        """Generations at once."""
        return self.batch_size or find_backend(self.backend).batch_size

    def as_dict(self) -> dict[str, Any]:
        """See `plain_settings`."""
        return plain_settings(self)
