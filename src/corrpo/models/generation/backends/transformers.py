"""The backend of transformers: one left-padded batch in this process, stopping at the end-of-sequence token.

The samples are drawn from the model's own distribution: what a checkpoint's generation_config asks for
(top-k, penalties, ...) is set aside, so that temperature 1 and top-p 1 are p_t itself (METHOD 1).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from corrpo.errors import NonFiniteError
from corrpo.models.generation.backend import Backend, Generation, end_token_ids
from corrpo.models.generation.sampling import check_sampling

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig

    from corrpo.models.checkpoints import Checkpoint
    from corrpo.models.load_options import LoadOptions


class TransformersEngine:
    """`generate` of a model in this process; an `Engine`. `name` is for descriptions."""

    def __init__(self, model: Any, tokenizer: Any, name: str | None = None, revision: str | None = None):
        from corrpo.models.token_limits import context_length

        self.model = model
        self.tokenizer = tokenizer
        self.name = name
        self.revision = revision
        self.context = context_length(model)
        self.end_tokens = set(end_tokens(model, tokenizer))

    def describe(self) -> dict[str, Any]:
        """name, revision, dtype, digest, backend."""
        from corrpo.models.description import describe_model

        facts = describe_model(self.model, self.name, self.revision)
        return {key: facts[key] for key in ("name", "revision", "dtype", "digest")} | {
            "backend": "transformers"
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
        """See `Engine` and `generate`."""
        from corrpo.models.threads import threads_for
        from corrpo.models.turns import model_turn

        with model_turn(self.model), threads_for(self.model):
            return generate(
                self.model,
                self.tokenizer,
                prompts,
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                top_p=top_p,
                seed=seed,
            )


def open_model(checkpoint: "Checkpoint", loading: "LoadOptions", device: str) -> TransformersEngine:
    """Load a checkpoint with `load_checkpoint`, whose errors it raises."""
    from corrpo.models.loading import load_checkpoint

    model, tokenizer = load_checkpoint(checkpoint, loading, device)
    return TransformersEngine(model, tokenizer, checkpoint.name, checkpoint.revision)


BACKEND = Backend(open_model, batch_size=16, is_measurable=True)


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Ids that end a response: the generation config's, and the tokenizer's."""
    return end_token_ids(model.generation_config, tokenizer)


def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int | None = 0,
) -> list[Generation]:
    """Write a response to each prompt of token ids, all in one left-padded batch; temperature 0 is greedy.

    A response ends at `max_new_tokens`, or where prompt and response fill the context of a model that reads
    no further (`position_limit`).

    The same batch with the same seed gives the same responses, and the global random state is left as it was;
    seed None draws on from it. The model's mode is restored, and threads take turns. An error about logits
    that are NaN or +inf has the prompt's number as its `row`; one about memory says what to lower.
    """
    from transformers import GenerationConfig

    from corrpo.models.memory import in_memory

    check_sampling(temperature, top_p, max_new_tokens)
    ends = end_tokens(model, tokenizer)
    pad = _padding_token(model, tokenizer, ends)
    drawn = {"do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": 0}
    config = GenerationConfig(
        eos_token_id=ends or None, pad_token_id=pad, **(drawn if temperature else {"do_sample": False})
    )
    at_once = f"generating {len(prompts)} responses at once"
    with (
        in_memory(at_once, "lower --batch-size or --max-new-tokens"),
        _generating(model, next(model.parameters()).device, seed),
    ):
        return _written(model, prompts, config, max_new_tokens)


def _written(
    model: Any, prompts: Sequence[Sequence[int]], config: "GenerationConfig", max_new_tokens: int
) -> list[Generation]:
    """The responses, in one call of the model's `generate` unless its positions come from a table.

    Such a model reads no token beyond its context, while a batch goes on until its shortest prompt has its
    response: so a call ends where the longest text of the batch fills the context, and the others go on in
    the next one, as prompts with what they have of their responses.
    """
    from transformers import LogitsProcessorList

    from corrpo.models.token_limits import position_limit

    limit, ends = position_limit(model), config.eos_token_id or []
    results = [Generation([], finished=False) for _ in prompts]
    left = max_new_tokens
    while left:
        unfinished = [row for row, result in enumerate(results) if not result.finished]
        texts = {row: [*prompts[row], *results[row].ids] for row in unfinished}
        if limit is not None:
            texts = {row: text for row, text in texts.items() if len(text) < limit}
        if not texts:
            break
        rows, longest = list(texts), max(map(len, texts.values()))
        config.max_new_tokens = left if limit is None else min(left, limit - longest)
        left -= config.max_new_tokens
        ids, mask = _left_padded(list(texts.values()), config.pad_token_id, next(model.parameters()).device)
        try:
            output = model.generate(
                input_ids=ids,
                attention_mask=mask,
                generation_config=config,
                synced_gpus=False,  # each process of several has its own number of batches
                logits_processor=LogitsProcessorList([_refuse_non_finite]),
            )
        except NonFiniteError as error:
            error.row = None if error.row is None else rows[error.row]
            raise
        for row, new in zip(rows, output[:, ids.shape[1] :].tolist(), strict=True):
            more = _up_to_end(new, ends)
            results[row] = Generation(results[row].ids + more.ids, more.finished)
    return results


@contextmanager
def _generating(model: Any, device: "torch.device", seed: int | None) -> Iterator[None]:
    """A model in eval mode, without gradients, without its own generation config, and with a seed."""
    import torch
    from transformers import GenerationConfig

    from corrpo.models.eval_mode import eval_mode
    from corrpo.models.generation.on_cpu import generating_on_cpu
    from corrpo.models.turns import model_turn, process_turn

    gpus = [device] if device.type == "cuda" else []
    with (
        model_turn(model),
        process_turn,
        eval_mode(model),
        torch.no_grad(),
        generating_on_cpu(model),
        nullcontext() if seed is None else torch.random.fork_rng(devices=gpus),
    ):
        own_config, model.generation_config = model.generation_config, GenerationConfig()
        try:
            if seed is not None:
                torch.manual_seed(seed)
            yield
        finally:
            model.generation_config = own_config


def _padding_token(model: Any, tokenizer: Any, ends: list[int]) -> int:
    """The tokenizer's padding token, or any that the model knows: the attention mask hides it."""
    from corrpo.models.token_limits import vocabulary_size

    pad = tokenizer.pad_token_id
    if pad is not None and pad < vocabulary_size(model):
        return pad
    return ends[0] if ends else 0


def _left_padded(
    prompts: Sequence[Sequence[int]], pad: int, device: "torch.device"
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Ids and attention mask, int64 [prompts, longest]."""
    import torch

    width = max(len(prompt) for prompt in prompts)
    ids = [[pad] * (width - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _refuse_non_finite(input_ids: "torch.Tensor", scores: "torch.Tensor") -> "torch.Tensor":
    """A logits processor that stops at NaN or +inf, before a token is drawn; float [batch, vocabulary]."""
    import torch

    bad = (torch.isnan(scores) | torch.isposinf(scores)).any(-1)
    if bad.any():
        error = NonFiniteError(
            "the model gives NaN or infinite logits while generating; check the weights, and try a wider "
            "dtype (float32)"
        )
        error.row = int(bad.nonzero()[0])
        raise error
    return scores


def _up_to_end(ids: list[int], ends: list[int]) -> Generation:
    """The response up to its first end-of-sequence token, that token included."""
    for i, token in enumerate(ids):
        if token in ends:
            return Generation(ids[: i + 1], finished=True)
    return Generation(ids, finished=False)
