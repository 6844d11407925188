"""The model and the tokenizer that a stage of training starts from, loaded or refused with the reason."""

from typing import Any

from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from trl.trainer.utils import get_quantization_config

from corrpo.errors import BadInputError, UnsupportedModelError, first_line
from corrpo.training.recipe import RecipeArguments


def load_starting_tokenizer(recipe: RecipeArguments, config: Any) -> Any:
    """The tokenizer of the model that a stage starts from.

    Raises:
        BadInputError: it cannot be loaded, or has no end-of-sequence token.
    """
    name = recipe.model_name_or_path
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            name, revision=recipe.model_revision, trust_remote_code=config.trust_remote_code
        )
    except (OSError, ValueError, KeyError) as error:
        raise BadInputError(_unloadable("tokenizer", recipe, error)) from error
    if tokenizer.eos_token is None:
        raise BadInputError(f"the tokenizer of {recipe.model} has no end-of-sequence token")
    return tokenizer


def load_starting_model(recipe: RecipeArguments, config: Any) -> Any:
    """The model that a stage starts from, on the CPU or where a sharded run puts it.

    The `model_init_kwargs` of the config are used up. Weights that are missing, and would be drawn at random,
    are an error.
    """
    name: Any = recipe.model_name_or_path
    source = {"revision": recipe.model_revision, "trust_remote_code": config.trust_remote_code}
    options: dict[str, Any] = {
        "dtype": recipe.dtype,
        "attn_implementation": recipe.attn_implementation,
        "quantization_config": get_quantization_config(recipe),
        "output_loading_info": True,
        **source,
        **(config.model_init_kwargs or {}),
    }
    try:
        model_config = AutoConfig.from_pretrained(name, **source)
        if type(model_config) not in AutoModelForCausalLM._model_mapping and not config.trust_remote_code:
            raise UnsupportedModelError(
                f"{recipe.model} is a {model_config.model_type} model, which is not a causal LM"
            )
        loaded: Any = AutoModelForCausalLM.from_pretrained(name, **options)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise BadInputError(_unloadable("model", recipe, error)) from error
    model, report = loaded
    if report["missing_keys"]:
        some = ", ".join(sorted(report["missing_keys"])[:3])
        raise BadInputError(f"{recipe.model} lacks weights of {type(model).__name__}: {some}, ...")
    config.model_init_kwargs = None
    return model


def _unloadable(what: str, recipe: RecipeArguments, error: Exception) -> str:
    reason = first_line(error).rstrip(".")
    return (
        f"cannot load the {what} of {recipe.model}: {reason}. Give the folder of a saved model, or a name "
        "on the hub that can be reached"
    )
