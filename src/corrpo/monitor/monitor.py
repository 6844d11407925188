"""`Monitor`: watches a model while it writes, and judges finished responses, its own or those of a log."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from corrpo.errors import BadInputError
from corrpo.measurement.measured_model import describe_measured_model
from corrpo.models.generation.backends.transformers import end_tokens
from corrpo.models.generation.sampling import check_sampling
from corrpo.models.token_limits import context_length
from corrpo.monitor.calibration import Calibration, Labelled
from corrpo.monitor.incremental_text import TextSteps
from corrpo.monitor.running_rho import FEWEST, Rho, RunningRho, check_window, series_interval
from corrpo.monitor.token_meter import Meter, Step, whole_rho
from corrpo.samples import Template, as_samples, encode_prompt
from corrpo.statistics.coefficients import Array, midranks

if TYPE_CHECKING:
    from corrpo.models.generation.backend import Engine

Prompt = str | list[dict[str, str]]


@dataclass(frozen=True, kw_only=True)
class MonitorOptions:
    """What rho depends on: a calibration holds for the same options only.

    Raises:
        BadInputError: a value out of its range.
    """

    window: int = 128
    """Tokens of the running rho."""
    min_tokens: int = FEWEST
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
        if self.template not in get_args(Template):
            raise BadInputError(
                f"template {self.template!r} is unknown; expected one of {', '.join(get_args(Template))}"
            )

    def as_dict(self) -> dict[str, Any]:
        """JSON-safe: tuples become lists."""
        own = {name: getattr(self, name) for name in MonitorOptions.__dataclass_fields__}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in own.items()}


@dataclass(frozen=True)
class Scored:
    """What the monitor says of a whole response.

    Attributes:
        tokens: how many were measured; the one that ends a response is not.
        rho: over all of them, with an interval; None if there is none.
        highest: the highest running rho; None if no window had one.
        lowest: the lowest.
        mean_entropy: bits; None of no token.
        flag: whether rho lies beyond the calibrated threshold; None without calibration or rho.
        running_flag: whether the running rho did at any token.
        flagged_at: number of the first token at which it did.
        entropy: bits of each token, float64 [tokens].
        strength: of each token, float64 [tokens].
    """

    tokens: int
    rho: Rho | None
    highest: float | None
    lowest: float | None
    mean_entropy: float | None
    flag: bool | None
    running_flag: bool | None
    flagged_at: int | None
    entropy: Array = field(repr=False, compare=False)
    strength: Array = field(repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """JSON-safe, without the values of each token."""
        return {
            "tokens": self.tokens,
            "rho": None if self.rho is None else asdict(self.rho),
            "highest": self.highest,
            "lowest": self.lowest,
            "mean_entropy": self.mean_entropy,
            "flag": self.flag,
            "running_flag": self.running_flag,
            "flagged_at": self.flagged_at,
        }

    def labelled(self, prompt: str, low: bool) -> Labelled:
        """The same for calibration."""
        value = None if self.rho is None else self.rho.value
        return Labelled(prompt, low, value, self.highest, self.lowest)


@dataclass(frozen=True)
class Watched:
    """One token as it was written.

    Attributes:
        token: its id.
        text: what the response's text gains by it; empty while a character is incomplete.
        entropy: bits.
        strength: gradient strength.
        rho: of the running window up to it, with an interval; None if it has none.
        flag: whether that lies beyond the calibrated threshold; None without calibration or rho.
        final: on the last token, the whole response.
    """

    token: int
    text: str
    entropy: float
    strength: float
    rho: Rho | None
    flag: bool | None
    final: Scored | None = None


@dataclass(frozen=True)
class Written:
    """A response that was written to a prompt: its text, without the token that ended it, and what it is."""

    text: str
    scored: Scored


class Monitor:
    """Running rho while a model writes, flags at a calibrated rate, and verdicts on finished text.

    Args:
        model: a causal LM of transformers; left as found by every call.
        tokenizer: its tokenizer.
        options: what rho depends on.
        calibration: thresholds of this model and these options; without, nothing is flagged.
        name: of the model, for what is written.

    Raises:
        UnsupportedModelError: the model cannot be measured by own-position gradients.
        BadInputError: the calibration is of another model or of other options.

    >>> from transformers import AutoModelForCausalLM, AutoTokenizer
    >>> from corrpo.lab import checkpoint
    >>> folder = checkpoint("qwen2", "reasoning")
    >>> model, tokenizer = (each.from_pretrained(folder) for each in (AutoModelForCausalLM, AutoTokenizer))
    >>> monitor = Monitor(model, tokenizer)
    >>> for token in monitor.watch("Calculate 42 - 25.", max_new_tokens=200):
    ...     pass
    >>> token.final.tokens > 20
    True
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        options: MonitorOptions | None = None,
        calibration: Calibration | None = None,
        *,
        name: str | None = None,
    ):
        self.options = options or MonitorOptions()
        self.tokenizer = tokenizer
        self.meter = Meter(model, self.options.projections, self.options.layers)
        self.description = describe_measured_model(model, name)
        self.context = context_length(model)
        self.ends = set(end_tokens(model, tokenizer))
        self.calibration = calibration
        if calibration is not None:
            calibration.check(self.description["digest"], self.options.as_dict())

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt: text or chat messages.

        Raises:
            BadInputError: not a prompt, or one that the chat template refuses.
        """
        (sample,) = as_samples([{"prompt": prompt, "where": "the prompt"}])
        return encode_prompt(sample, self.tokenizer, self.options.template)

    def response_ids(self, response: str) -> list[int]:
        """Token ids of a response's text."""
        return list(self.tokenizer(response, add_special_tokens=False).input_ids)

    def watch(
        self,
        prompt: Prompt | Sequence[int],
        *,
        max_new_tokens: int = 512,
        temperature: float = 1.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> Iterator[Watched]:
        """Write a response token by token, each with the running rho; the last one with the whole response.

        Args:
            prompt: text, chat messages, or token ids.
            max_new_tokens: at most this many tokens, and no more than the model's context has room for.
            temperature: of what is drawn; 0 takes the likeliest token.
            top_p: draw among the likeliest tokens of this total probability.
            seed: of the draws.

        Raises:
            BadInputError: a bad prompt, one that fills the model's context, or a setting out of range.
            NonFiniteError: the model gives NaN or infinite values.
        """
        check_sampling(temperature, top_p, max_new_tokens)
        ids = self._ids(prompt)
        most = min(max_new_tokens, self._room(len(ids)))
        steps = self.meter.decode(
            ids, max_new_tokens=most, ends=sorted(self.ends), temperature=temperature, top_p=top_p, seed=seed
        )
        return self._watched(steps, most)

    def _watched(self, steps: Iterator[Step], most: int) -> Iterator[Watched]:
        trace, text = _Trace(self.options, self.calibration), TextSteps(self.tokenizer)
        for number, step in enumerate(steps, start=1):
            ended = step.token in self.ends
            if not ended:
                trace.push(step.entropy, step.strength)
            last = ended or number == most
            yield Watched(
                token=step.token,
                text=text.last() if ended else text.push(step.token, last=last),
                entropy=step.entropy,
                strength=step.strength,
                rho=trace.rho,
                flag=trace.flag,
                final=trace.scored() if last else None,
            )

    def score(self, prompt: Prompt | Sequence[int], response: str | Sequence[int]) -> Scored:
        """Judge a finished response in one pass, whatever engine wrote it.

        Args:
            prompt: text, chat messages, or token ids.
            response: text, or the token ids that were written (what a text is split into may differ).

        Raises:
            BadInputError: a bad prompt, an empty response, or both too long for the model's context.
            NonFiniteError: the model gives NaN or infinite values.
        """
        ids = self._ids(prompt)
        written = self.response_ids(response) if isinstance(response, str) else list(response)
        if written and written[-1] in self.ends:
            written = written[:-1]
        if len(written) > self._room(len(ids)):
            raise BadInputError(
                f"prompt and response have {len(ids)} and {len(written)} tokens; the model reads "
                f"{self.context} in all: score a shorter part"
            )
        entropy, strength = self.meter.score(ids, written)
        trace = _Trace(self.options, self.calibration)
        for each in zip(entropy.tolist(), strength.tolist(), strict=True):
            trace.push(*each)
        return trace.scored()

    def write(
        self,
        prompts: Sequence[Prompt | Sequence[int]],
        *,
        backend: "Engine | None" = None,
        max_new_tokens: int = 512,
        temperature: float = 1.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> list[Written]:
        """A response to each prompt, judged.

        Args:
            prompts: each text, chat messages, or token ids.
            backend: what writes them, of the same model, as `open_backend` gives: vLLM, whose
                responses are scored by a second pass. This model writes if not given, and is watched.
            max_new_tokens: at most this many tokens, and no more than the context has room for.
            temperature: of what is drawn; 0 takes the likeliest token.
            top_p: draw among the likeliest tokens of this total probability.
            seed: of all of them; with this model the seed of a response is this and its number added.

        Raises:
            BadInputError, NonFiniteError: as `watch`.
        """
        check_sampling(temperature, top_p, max_new_tokens)
        asked = [self._ids(prompt) for prompt in prompts]
        most = min((self._room(len(ids)) for ids in asked), default=1)
        drawn = {"temperature": temperature, "top_p": top_p}
        if backend is not None:
            most = min(most, max_new_tokens)
            responses = backend.respond(asked, max_new_tokens=most, seed=seed, **drawn)
            return [self.written(ids, each.ids) for ids, each in zip(asked, responses, strict=True)]
        found = []
        for number, ids in enumerate(asked):
            tokens = list(self.watch(ids, max_new_tokens=max_new_tokens, seed=seed + number, **drawn))
            final = tokens[-1].final
            assert final is not None
            found.append(Written("".join(token.text for token in tokens), final))
        return found

    def written(self, prompt: Sequence[int], response: Sequence[int]) -> Written:
        """What another engine wrote, as token ids, judged; it may be empty but for the token that ends it."""
        ids = list(response[:-1]) if response and response[-1] in self.ends else list(response)
        scored = self.score(prompt, ids) if ids else _Trace(self.options, self.calibration).scored()
        return Written(self.tokenizer.decode(ids, skip_special_tokens=False), scored)

    def _ids(self, prompt: Prompt | Sequence[int]) -> list[int]:
        if isinstance(prompt, Sequence) and prompt and all(type(each) is int for each in prompt):
            return list(prompt)  # pyright: ignore
        return self.prompt_ids(prompt)  # pyright: ignore

    def _room(self, prompt: int) -> int:
        """Tokens that the context has left for a response."""
        if self.context is None:
            return 1 << 62
        if prompt >= self.context:
            raise BadInputError(
                f"the prompt has {prompt} tokens and the model reads {self.context} in all: shorten it"
            )
        return self.context - prompt


class _Trace:
    """The state of one response: window, peaks, and every value."""

    def __init__(self, options: MonitorOptions, calibration: Calibration | None):
        self.running = RunningRho(options.window, options.min_tokens)
        self.min_tokens, self.calibration = options.min_tokens, calibration
        self.entropy: list[float] = []
        self.strength: list[float] = []
        self.peaks: list[float] = []
        self.flagged_at: int | None = None
        self._value: float | None = None

    def push(self, entropy: float, strength: float) -> None:
        self.running.push(entropy, strength)
        self.entropy.append(entropy)
        self.strength.append(strength)
        self._value = self.running.value
        if self._value is not None:
            self.peaks = [min([self._value, *self.peaks]), max([self._value, *self.peaks])]
        if self.flag and self.flagged_at is None:
            self.flagged_at = len(self.entropy) - 1

    @property
    def rho(self) -> Rho | None:
        return self.running.rho

    @property
    def flag(self) -> bool | None:
        return self.calibration and self.calibration.beyond(self._value, self.calibration.running)

    def scored(self) -> Scored:
        entropy, strength = np.array(self.entropy), np.array(self.strength)
        value, known = whole_rho(entropy, strength, self.min_tokens), self.calibration
        rho = None
        if value is not None:
            ends = series_interval(value, midranks(entropy), midranks(strength))
            rho = Rho(value, *ends, tokens=len(entropy))
        lowest, highest = self.peaks or (None, None)
        return Scored(
            tokens=len(entropy),
            rho=rho,
            highest=highest,
            lowest=lowest,
            mean_entropy=float(entropy.mean()) if len(entropy) else None,
            flag=known and known.beyond(value, known.whole),
            running_flag=known and (None if highest is None else self.flagged_at is not None),
            flagged_at=self.flagged_at,
            entropy=entropy,
            strength=strength,
        )
