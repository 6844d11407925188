"""What writes the generations: transformers in this process, or vLLM."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from corrpo.errors import BadInputError, require_packages
from corrpo.models.checkpoints import Checkpoint
from corrpo.models.description import describe_model
from corrpo.models.generation import generate
from corrpo.models.generation.sampling import Generation, end_tokens
from corrpo.models.load_options import LoadOptions
from corrpo.models.loading import load_checkpoint
from corrpo.models.threads import threads_for


@runtime_checkable
class Backend(Protocol):
    """A model that answers batches of prompts."""

    tokenizer: Any
    context: int | None
    """The most tokens that it reads, prompt and response together, if that is known."""
    ends: set[int]
    """Ids of the tokens that end a response."""

    def describe(self) -> dict[str, Any]:
        """name, revision, backend, dtype, digest."""
        ...

    def respond(
        self, prompts: Sequence[list[int]], max_new_tokens: int, temperature: float, top_p: float, seed: int
    ) -> list[Generation]:
        """A response to each prompt; the same batch and seed give the same responses."""
        ...


class TransformersBackend:
    """`corrpo.models.generation.generate` on a model in this process."""

    def __init__(self, checkpoint: Checkpoint, loading: LoadOptions, device: str):
        self.checkpoint = checkpoint
        self.model, self.tokenizer = load_checkpoint(checkpoint, loading, device)
        self.context = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        self.ends = set(end_tokens(self.model, self.tokenizer))

    def describe(self) -> dict[str, Any]:
        """name, revision, backend, dtype, digest."""
        facts = describe_model(self.model, self.checkpoint.name, self.checkpoint.revision)
        return {name: facts[name] for name in ("name", "revision", "dtype", "digest")} | {
            "backend": "transformers"
        }

    def respond(
        self, prompts: Sequence[list[int]], max_new_tokens: int, temperature: float, top_p: float, seed: int
    ) -> list[Generation]:
        """See `Backend`."""
        with threads_for(self.model):
            return generate(
                self.model,
                self.tokenizer,
                prompts,
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                top_p=top_p,
                seed=seed,
            )


class VllmBackend:
    """vLLM's offline engine; every prompt has a seed of its own, so that batching does not matter."""

    def __init__(self, checkpoint: Checkpoint, loading: LoadOptions, device: str):
        require_packages("the backend vllm", "vllm", extra="vllm")
        if loading.quantization != "none":
            raise BadInputError(
                f"quantization {loading.quantization!r} is for the backend transformers; leave it out"
            )
        from vllm import LLM  # pyright: ignore[reportMissingImports]

        self.checkpoint = checkpoint
        self.engine = LLM(
            model=checkpoint.source,
            revision=checkpoint.revision,
            dtype=loading.dtype,
            trust_remote_code=loading.trust_remote_code,
            generation_config="vllm",
        )
        self.tokenizer = self.engine.get_tokenizer()
        self.dtype = str(self.engine.model_config.dtype).removeprefix("torch.")
        self.context = int(self.engine.model_config.max_model_len)
        self.ends = {self.tokenizer.eos_token_id}

    def describe(self) -> dict[str, Any]:
        """name, revision, backend, dtype; the digest is None, as the engine keeps the weights."""
        return {
            "name": self.checkpoint.name,
            "revision": self.checkpoint.revision,
            "dtype": self.dtype,
            "digest": None,
            "backend": "vllm",
        }

    def respond(
        self, prompts: Sequence[list[int]], max_new_tokens: int, temperature: float, top_p: float, seed: int
    ) -> list[Generation]:
        """See `Backend`."""
        from vllm import SamplingParams  # pyright: ignore[reportMissingImports]

        parameters = [
            SamplingParams(
                temperature=temperature,
                top_p=top_p,
                max_tokens=max_new_tokens,
                seed=seed * 1_000_003 + number,
            )
            for number in range(len(prompts))
        ]
        outputs = self.engine.generate(
            [{"prompt_token_ids": list(prompt)} for prompt in prompts], parameters, use_tqdm=False
        )
        chosen = [output.outputs[0] for output in outputs]
        return [Generation(list(each.token_ids), finished=each.finish_reason == "stop") for each in chosen]


BACKENDS: dict[str, Any] = {"transformers": TransformersBackend, "vllm": VllmBackend}


def open_backend(name: str, checkpoint: Checkpoint, loading: LoadOptions, device: str) -> Backend:
    """Load a model into the backend of that name.

    Raises:
        BadInputError: an unknown backend, or a model that cannot be loaded.
        BadInputError: vLLM is not installed.
    """
    if name not in BACKENDS:
        raise BadInputError(f"backend {name!r} is unknown; expected one of {', '.join(BACKENDS)}")
    return BACKENDS[name](checkpoint, loading, device)


def text_of(backend: Backend, generation: Generation) -> str:
    """The response as text; the token that ended it is left out, other special tokens stay."""
    ids = generation.ids
    if generation.finished and ids and ids[-1] in backend.ends:
        ids = ids[:-1]
    return backend.tokenizer.decode(ids, skip_special_tokens=False)
