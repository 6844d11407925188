"""The settings of the monitor: what rho depends on, how responses are written, the bounds of the service.

Nothing heavy is imported here, so that a command's options can be shown quickly.
"""

from dataclasses import dataclass
from typing import Any, get_args

from corrpo.errors import BadInputError, check_known
from corrpo.models.generation.backend import BackendName, check_backend
from corrpo.models.generation.sampling import check_sampling
from corrpo.models.keywords import plain_settings
from corrpo.samples.encoding import Template

FEWEST_TOKENS = 8
"""Tokens below which a window has no rho, if nothing else is asked for."""


@dataclass(frozen=True, kw_only=True)
class MonitorOptions:
    """What rho depends on: a calibration holds for the same options only.

    Raises:
        BadInputError: a value out of its range.
    """

    window: int = 128
    """Tokens of the running rho."""
    min_tokens: int = FEWEST_TOKENS
    """A window or response of fewer tokens has no rho."""
    projections: tuple[str, ...] = ("q", "o")
    """Projections whose gradients are measured; own-position ones of Q and O agree best with exact ones."""
    layers: tuple[int, ...] | None = None
    """Layers measured, negative from the end; all if not given."""
    template: Template = "auto"
    """How a text prompt is read: chat (as a user message), plain (as it stands), auto (chat if the model has
    a chat template). Prompts given as chat messages always go through the template."""

    def __post_init__(self) -> None:
        check_window(self.window, self.min_tokens, 0.95)
        check_known("template", self.template, get_args(Template))

    def as_dict(self) -> dict[str, Any]:
        """See `plain_settings`."""
        return plain_settings(self)


@dataclass(frozen=True, kw_only=True)
class WritingOptions:
    """How responses are written.

    Raises:
        BadInputError: a value out of its range.
    """

    backend: BackendName | str = "transformers"
    """What writes a response where a line of --generations has none: transformers, token by token under the
    monitor's eyes, or vLLM, whose responses are scored by a second pass."""
    max_new_tokens: int = 512
    """Longest response that is written, in tokens, if the model's context leaves so much."""
    temperature: float = 1.0
    """Of responses that are written; 0 takes the likeliest token."""
    top_p: float = 1.0
    """Draw among the likeliest tokens of this total probability."""

    def __post_init__(self) -> None:
        check_sampling(self.temperature, self.top_p, self.max_new_tokens)
        check_backend(self.backend)


@dataclass(frozen=True, kw_only=True)
class ServiceOptions:
    """Bounds of the service that its clients meet.

    Raises:
        BadInputError: a bound that is not more than 0.
    """

    max_tokens: int = 2048
    """Most tokens of prompt and response together, given or written, in the service."""
    rate: float = 20.0
    """Requests a second of one client, on average; bursts of twice as many, at least two."""
    queue: int = 64
    """Requests that may wait; more are answered 503."""
    timeout: float = 120.0
    """Seconds from a request to the end of its answer."""
    client_timeout: float = 10.0
    """Seconds for a client to send its request or to take the next part of an answer."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 < value < float("inf"):
                raise BadInputError(f"{name}={value}: expected a number above 0")


def check_window(window: int, min_tokens: int, confidence: float) -> None:
    """Raise `BadInputError` on a window of the running rho that is out of range."""
    if min_tokens < 4:
        raise BadInputError(f"min_tokens={min_tokens}: expected 4 or more, as fewer tokens show nothing")
    if window < min_tokens:
        raise BadInputError(f"window={window}: expected min_tokens ({min_tokens}) or more")
    if not 0 < confidence < 1:
        raise BadInputError(f"confidence={confidence}: expected a number between 0 and 1, such as 0.95")
