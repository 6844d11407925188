"""Batched generation with transformers: temperature, top-p, seed, stop at the end-of-sequence token.

The samples are drawn from the model's own distribution: what a checkpoint's generation_config asks for
(top-k, penalties, ...) is set aside, so that temperature 1 and top-p 1 are p_t itself (METHOD 1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from corrpo.errors import BadInputError, CorrpoError, NonFiniteError
from corrpo.models.eval_mode import eval_mode
from corrpo.models.vocabulary import vocabulary_size


@dataclass(frozen=True)
class Generation:
    """One written response: its token ids, end-of-sequence included, and whether it ended by itself."""

    ids: list[int]
    finished: bool

    def within(self, most: int) -> "Generation":
        """The first `most` tokens; unfinished if that cuts it."""
        return self if len(self.ids) <= most else Generation(self.ids[:most], finished=False)


class _Finite(LogitsProcessor):
    """Stops at the first row of logits that holds NaN or +inf, before a token is drawn from it."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        bad = (torch.isnan(scores) | torch.isposinf(scores)).any(-1)
        if bad.any():
            error = NonFiniteError(
                "the model gives NaN or infinite logits while generating; check the weights, and try a wider "
                "dtype (float32)"
            )
            error.row = int(bad.nonzero()[0])
            raise error
        return scores


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Ids that end a response: the generation config's, and the tokenizer's."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    listed = configured if isinstance(configured, list) else [configured]
    return sorted({int(token) for token in [*listed, tokenizer.eos_token_id] if token is not None})


def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 0,
) -> list[Generation]:
    """Write a response to each prompt, all in one left-padded batch.

    Args:
        model: a causal LM; its mode is restored after.
        tokenizer: for the padding and end-of-sequence ids.
        prompts: token ids.
        max_new_tokens: at most this many tokens a response.
        temperature: of the softmax; 0 takes the likeliest token.
        top_p: draw among the likeliest tokens of this total probability.
        seed: of this batch; the same batch with the same seed gives the same responses. The global
            random state is left as it was.

    Raises:
        BadInputError: temperature, top-p or max_new_tokens out of range.
        NonFiniteError: the model gives logits that are NaN or +inf; its `row` is the prompt's number.
        CorrpoError: out of GPU memory; says what to lower.
    """
    check_sampling(temperature, top_p, max_new_tokens)
    ends = end_tokens(model, tokenizer)
    pad = tokenizer.pad_token_id
    if pad is None or pad >= vocabulary_size(model):
        pad = ends[0] if ends else 0  # never read: the mask hides it
    width = max(len(prompt) for prompt in prompts)
    device = next(model.parameters()).device
    ids = torch.tensor([[pad] * (width - len(p)) + list(p) for p in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=device)
    drawn = {"do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": 0}
    config = GenerationConfig(
        max_new_tokens=max_new_tokens,
        eos_token_id=ends or None,
        pad_token_id=pad,
        **(drawn if temperature else {"do_sample": False}),
    )
    own_config, model.generation_config = model.generation_config, GenerationConfig()
    try:
        with (
            eval_mode(model),
            torch.no_grad(),
            torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        ):
            torch.manual_seed(seed)
            output = model.generate(
                input_ids=ids,
                attention_mask=mask,
                generation_config=config,
                synced_gpus=False,  # each process of several has its own number of batches
                logits_processor=LogitsProcessorList([_Finite()]),
            )
    except torch.cuda.OutOfMemoryError as error:
        raise CorrpoError(
            f"out of GPU memory generating {len(prompts)} responses at once; lower --batch-size or "
            "--max-new-tokens"
        ) from error
    finally:
        model.generation_config = own_config
    return [_cut(row, ends) for row in output[:, width:].tolist()]


def check_sampling(temperature: float, top_p: float, max_new_tokens: int) -> None:
    """Raise `BadInputError` on a setting of generation that is out of range."""
    if not 0 <= temperature < float("inf"):
        raise BadInputError(f"temperature={temperature}: expected 0 (greedy) or more")
    if not 0 < top_p <= 1:
        raise BadInputError(f"top_p={top_p}: expected a number in (0, 1]")
    if max_new_tokens < 1:
        raise BadInputError(f"max_new_tokens={max_new_tokens}: expected 1 or more")


def _cut(ids: list[int], ends: list[int]) -> Generation:
    """The response up to its first end-of-sequence token, that token included."""
    for i, token in enumerate(ids):
        if token in ends:
            return Generation(ids[: i + 1], finished=True)
    return Generation(ids, finished=False)
