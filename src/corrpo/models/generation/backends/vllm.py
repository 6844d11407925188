"""The backend of vLLM: its offline engine. Every prompt has a seed of its own: batching does not matter."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corrpo.errors import BadInputError, require_packages
from corrpo.models.generation.backend import Backend, Generation, end_token_ids
from corrpo.models.generation.sampling import numbered_seed
from corrpo.models.gguf import is_gguf
from corrpo.models.peft_adapters import is_adapter

if TYPE_CHECKING:
    from corrpo.models.checkpoints import Checkpoint
    from corrpo.models.load_options import LoadOptions

_SEEDS = 1 << 63
"""vLLM takes a seed of 64 bits, with a sign."""


class VllmEngine:
    """vLLM's `LLM` of one checkpoint; an `Engine`.

    Raises:
        BadInputError: vLLM is not installed, a GGUF file, an adapter, or `loading` asks for quantization, a
            device map or a device other than the GPUs that CUDA_VISIBLE_DEVICES lists.
    """

    def __init__(self, checkpoint: "Checkpoint", loading: "LoadOptions", device: str):
        require_packages("the backend vllm", "vllm", extra="vllm")
        if loading.quantization != "none":
            raise BadInputError(
                f"quantization {loading.quantization!r} is for the backend transformers; leave it out"
            )
        if loading.device_map is not None:
            raise BadInputError(
                f"device_map {loading.device_map!r} is for the backend transformers; leave it out"
            )
        if loading.device not in ("auto", "cuda"):
            raise BadInputError(
                f"device {loading.device!r} is for the backend transformers: vLLM takes the first GPU in the "
                "environment variable CUDA_VISIBLE_DEVICES; set that, and leave the device out"
            )
        if is_gguf(checkpoint.source):
            raise BadInputError(
                f"{checkpoint.source}: the backend vllm takes the folder that `corrpo convert` makes of it"
            )
        if is_adapter(Path(checkpoint.source)):
            raise BadInputError(
                f"{checkpoint.source} is an adapter; the backend vllm takes merged models: the "
                "`final` of its run, or what peft's merge_and_unload gives"
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
        self.context: int | None = int(self.engine.model_config.max_model_len)
        self.end_tokens = set(end_token_ids(_generation_config(checkpoint, loading), self.tokenizer))

    def describe(self) -> dict[str, Any]:
        """name, revision, dtype, backend; the digest is None, as the engine keeps the weights."""
        return {
            "name": self.checkpoint.name,
            "revision": self.checkpoint.revision,
            "dtype": self.dtype,
            "digest": None,
            "backend": "vllm",
        }

    def respond(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        temperature: float,
        top_p: float,
        seed: int,
    ) -> list[Generation]:
        """See `Engine`."""
        from vllm import SamplingParams  # pyright: ignore[reportMissingImports]

        parameters = [
            SamplingParams(
                temperature=temperature,
                top_p=top_p,
                max_tokens=max_new_tokens,
                stop_token_ids=sorted(self.end_tokens),
                seed=numbered_seed(seed, number) % _SEEDS,
            )
            for number in range(len(prompts))
        ]
        outputs = self.engine.generate(
            [{"prompt_token_ids": list(prompt)} for prompt in prompts], parameters, use_tqdm=False
        )
        completions = [output.outputs[0] for output in outputs]
        return [
            Generation(list(completion.token_ids), finished=completion.finish_reason == "stop")
            for completion in completions
        ]


def _generation_config(checkpoint: "Checkpoint", loading: "LoadOptions") -> Any:
    """The checkpoint's own, or what its config says of generation; only its end tokens are used."""
    from transformers import AutoConfig, GenerationConfig

    try:
        return GenerationConfig.from_pretrained(checkpoint.source, revision=checkpoint.revision or "main")
    except OSError:
        config = AutoConfig.from_pretrained(
            checkpoint.source, revision=checkpoint.revision, trust_remote_code=loading.trust_remote_code
        )
        return GenerationConfig.from_model_config(config)


BACKEND = Backend(VllmEngine, batch_size=1024, is_multiprocess=True, distributions=("vllm",))
