"""The model and the tokenizer that a stage of training starts from, loaded or refused with the reason."""

from functools import partial
from typing import Any

from transformers import AutoModelForCausalLM
from trl.trainer.utils import get_quantization_config

from corrpo.errors import BadInputError
from corrpo.models.loading import LOADING, causal_lm_config, complete_model, load_tokenizer
from corrpo.models.token_limits import config_context
from corrpo.training.recipe import RecipeArguments


def load_starting_tokenizer(recipe: RecipeArguments, config: Any) -> Any:
    """The tokenizer of the model that a stage starts from, which must have an end-of-sequence token."""
    tokenizer = load_tokenizer(str(recipe.model_name_or_path), _source(recipe, config))
    if tokenizer.eos_token is None:
        raise BadInputError(f"the tokenizer of {recipe.model} has no end-of-sequence token")
    return tokenizer


def starting_context(recipe: RecipeArguments, config: Any) -> int | None:
    """The most tokens that the model reads, prompt and response together; None without a limit."""
    return config_context(causal_lm_config(str(recipe.model_name_or_path), _source(recipe, config)))


def load_starting_model(recipe: RecipeArguments, config: Any) -> Any:
    """The model that a stage starts from, on the CPU or where a sharded run puts it.

    The `model_init_kwargs` of the config are used up.
    """
    name, source = str(recipe.model_name_or_path), _source(recipe, config)
    causal_lm_config(name, source)
    options: dict[str, Any] = {
        "dtype": recipe.dtype,
        "attn_implementation": recipe.attn_implementation,
        "quantization_config": get_quantization_config(recipe),
        **LOADING,
        **source,
        **(config.model_init_kwargs or {}),
    }
    model = complete_model(recipe.model, partial(AutoModelForCausalLM.from_pretrained, name, **options))
    config.model_init_kwargs = None
    return model


def _source(recipe: RecipeArguments, config: Any) -> dict[str, Any]:
    return {"revision": recipe.model_revision, "trust_remote_code": config.trust_remote_code}
