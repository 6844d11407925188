"""`generate` of a model on a CPU, quicker: ended rows leave the batch, few rows and draws are cheap.

transformers goes on with every row until the last has ended. On a CPU, where time grows with the rows, half
of it can go into rows that have ended. Here they are taken out every `EVERY` tokens.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy, deepcopy
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from transformers import DynamicCache, GenerationConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from transformers.generation.utils import GenerateDecoderOnlyOutput

from corrpo.errors import NonFiniteError
from corrpo.models.generation.cpu_draws import DrawsByInverse
from corrpo.models.generation.few_rows import FewRows
from corrpo.models.threads import is_tiny

EVERY = 16
"""Tokens after which ended rows are taken out."""
_CACHE = "cache" if "cache" in GenerateDecoderOnlyOutput.__dataclass_fields__ else "past_key_values"
_OPTIONS = {"input_ids", "attention_mask", "generation_config", "logits_processor", "synced_gpus"}
_SETTINGS = {"do_sample", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "max_new_tokens"}
_SETTINGS |= {"pad_token_id", "bos_token_id", "eos_token_id", "disable_compile", "transformers_version"}
_SETTINGS |= {"max_length"}  # which transformers ignores beside max_new_tokens
_USUAL = {"cache_implementation": "hybrid", "use_cache": True, "num_beams": 1, "_from_model_config": True}
"""What configs of the hub say besides, and what changes nothing: hybrid is the usual cache by now."""


@contextmanager
def generating_on_cpu(model: Any) -> Iterator[None]:
    """Let the model's `generate` work so within the block; not for tiny models.

    A row that ends is padded as ever. With sampling, rows that go on meet other random numbers than if the
    ended ones had stayed. Beam search, stopping strings and whatever else a single call must see to its end,
    in the config that is given or in the model's own, keep the batch whole. So do caches other than keys and
    values of attention, and several processes, unless `synced_gpus` is False: their parts of a sharded model
    must take the same steps.
    """
    if is_tiny(model) or next(model.parameters()).device.type != "cpu":
        yield
        return
    generate, before = model.generate, model.__dict__.get("generate")

    def quicker(*given: Any, **named: Any) -> Any:
        with FewRows(), DrawsByInverse():
            if given or named.get("generation_config") is None:
                return generate(*given, **named)
            config = _filled_in(model, named["generation_config"])
            cache = _cache_that_shrinks(model, config, named)
            if cache is None:
                return generate(*given, **named)
            named["generation_config"] = config
            return _without_ended_rows(generate, cache, **named)

    model.generate = quicker
    try:
        yield
    finally:
        del model.generate
        if before is not None:
            model.generate = before


def _filled_in(model: Any, config: GenerationConfig) -> GenerationConfig:
    """A config with what it leaves to the model's own, as transformers fills it in."""
    config = deepcopy(config)
    config.update(**model.generation_config.to_dict(), defaults_only=True)
    return config


def _cache_that_shrinks(model: Any, config: GenerationConfig, named: dict[str, Any]) -> DynamicCache | None:
    """An empty cache from which rows can be taken; None where a call must keep the batch whole."""
    forward = getattr(model, "get_base_model", lambda: model)().forward
    asked = {name for name, value in config.to_diff_dict().items() if value and value != _USUAL.get(name)}
    if (
        "attention_mask" not in named
        or not set(named) <= _OPTIONS
        or not asked <= _SETTINGS
        or config.use_cache is False
        or None in (config.eos_token_id, config.max_new_tokens)
        or _CACHE not in inspect.signature(forward).parameters
        or (_are_several() if named.get("synced_gpus") is None else named["synced_gpus"])
    ):
        return None
    cache = DynamicCache(config=model.config)
    plain = {type(layer) for layer in cache.layers} <= {DynamicLayer, DynamicSlidingWindowLayer}
    return cache if plain else None


def _are_several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _without_ended_rows(
    generate: Callable[..., Any],
    cache: DynamicCache,
    *,
    input_ids: Tensor,
    attention_mask: Tensor,
    generation_config: GenerationConfig,
    **named: Any,
) -> Tensor:
    """The texts of all rows, int64 [rows, length], as generate returns them."""
    whole = {"input_ids": input_ids, "attention_mask": attention_mask} | named
    whole["generation_config"] = generation_config
    count, length = input_ids.shape
    left = int(generation_config.max_new_tokens)
    pad, ends = generation_config.pad_token_id or 0, torch.tensor(generation_config.eos_token_id)
    written = torch.cat([input_ids, input_ids.new_full((count, left), pad)], 1)
    rows, config = torch.arange(count), copy(generation_config)
    while True:
        config.max_new_tokens = min(EVERY, left)
        try:
            texts = generate(
                input_ids=input_ids,
                attention_mask=attention_mask,
                generation_config=config,
                **{_CACHE: cache},
                **named,
            )
        except NonFiniteError as error:
            error.row = None if error.row is None else int(rows[error.row])
            raise
        if cache.get_seq_length() != texts.shape[1] - 1:  # MPT's holds the text several times
            return generate(**whole)
        new = texts[:, input_ids.shape[1] :]
        written[rows, length : length + new.shape[1]] = new
        length, left = length + new.shape[1], left - new.shape[1]
        going_on = (~torch.isin(new, ends).any(1)).nonzero()[:, 0]
        if not left or not len(going_on):
            return written[:, :length]
        cache.batch_select_indices(going_on)
        rows, input_ids = rows[going_on], texts[going_on]
        attention_mask = torch.cat([attention_mask, attention_mask.new_ones(new.shape)], 1)[going_on]
