"""`Monitor`: watches a model while it writes, and judges finished responses, its own or those of a log."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from corrpo.errors import BadInputError
from corrpo.measurement.measured_model import describe_measured_model
from corrpo.models.generation.backends.transformers import end_tokens
from corrpo.models.generation.sampling import check_sampling
from corrpo.models.token_limits import context_length
from corrpo.monitor.calibration import Calibration
from corrpo.monitor.incremental_text import IncrementalText
from corrpo.monitor.options import MonitorOptions
from corrpo.monitor.token_meter import Meter, Step
from corrpo.monitor.watched_response import ResponseTrace, Scored, Watched, Written
from corrpo.samples import as_samples, encode_prompt
from corrpo.samples.encoding import check_characters

if TYPE_CHECKING:
    from corrpo.models.generation.backend import Engine

Prompt = str | list[dict[str, str]]


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
    >>> model, tokenizer = (auto.from_pretrained(folder) for auto in (AutoModelForCausalLM, AutoTokenizer))
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

    def prompt_ids(self, prompt: Prompt, most: int | None = None) -> list[int]:
        """Token ids of a prompt: text or chat messages.

        Raises:
            TooLongError: more characters than `most` tokens hold, or those of the model's context.
            BadInputError: not a prompt, or one that the chat template refuses.
        """
        (sample,) = as_samples([{"prompt": prompt, "where": "the prompt"}])
        return encode_prompt(sample, self.tokenizer, self.options.template, self._most(most))

    def response_ids(self, response: str, most: int | None = None) -> list[int]:
        """Token ids of a response's text.

        Raises:
            TooLongError: more characters than `most` tokens hold, or those of the model's context.
        """
        check_characters("the response", len(response), self.tokenizer, self._most(most))
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
        trace, text = ResponseTrace(self.options, self.calibration), IncrementalText(self.tokenizer)
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
        trace = ResponseTrace(self.options, self.calibration)
        for pair in zip(entropy.tolist(), strength.tolist(), strict=True):
            trace.push(*pair)
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
            return [self.written(ids, answer.ids) for ids, answer in zip(asked, responses, strict=True)]
        written = []
        for number, ids in enumerate(asked):
            tokens = list(self.watch(ids, max_new_tokens=max_new_tokens, seed=seed + number, **drawn))
            final = tokens[-1].final
            assert final is not None
            written.append(Written("".join(token.text for token in tokens), final))
        return written

    def written(self, prompt: Sequence[int], response: Sequence[int]) -> Written:
        """What another engine wrote, as token ids, judged; it may be empty but for the token that ends it."""
        ids = list(response[:-1]) if response and response[-1] in self.ends else list(response)
        scored = self.score(prompt, ids) if ids else ResponseTrace(self.options, self.calibration).scored()
        return Written(self.tokenizer.decode(ids, skip_special_tokens=False), scored)

    def _ids(self, prompt: Prompt | Sequence[int]) -> list[int]:
        if isinstance(prompt, Sequence) and prompt and all(type(token) is int for token in prompt):
            return list(prompt)  # pyright: ignore
        return self.prompt_ids(prompt)  # pyright: ignore

    def _most(self, most: int | None) -> int | None:
        return min((limit for limit in (most, self.context) if limit is not None), default=None)

    def _room(self, prompt: int) -> int:
        """Tokens that the context has left for a response."""
        if self.context is None:
            return 1 << 62
        if prompt >= self.context:
            raise BadInputError(
                f"the prompt has {prompt} tokens and the model reads {self.context} in all: shorten it"
            )
        return self.context - prompt
