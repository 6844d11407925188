"""Adapters of peft: read from a folder, put on their base model, and refused where they cannot be measured.

What is measured under an adapter is the gradient of the effective weight, base and adapter taken together:
what a merged model gives. Some methods of peft change no weight, and have none.
"""

import json
import warnings
from pathlib import Path
from typing import Any

from corrpo.errors import BadInputError, UnsupportedModelError, require_packages
from corrpo.models.model_names import looks_like_path

CONFIG = "adapter_config.json"
BASE_ADVICE = "give the base model, as base=... or --base"
_CHANGES_NO_WEIGHT = (
    "ADAPTION_PROMPT",
    "CPT",
    "MULTITASK_PROMPT_TUNING",
    "PREFIX_TUNING",
    "PROMPT_TUNING",
    "P_TUNING",
    "XLORA",
)


def is_adapter(folder: Path) -> bool:
    """True for the folder of an adapter alone, without its base model."""
    return (folder / CONFIG).is_file() and not (folder / "config.json").is_file()


def base_of(folder: Path, base: str | None = None) -> str:
    """The name or folder of the base model of an adapter's folder: `base`, or what the adapter names."""
    if base is not None:
        return base
    try:
        base_name = json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise BadInputError(f"{folder / CONFIG} cannot be read: {error}; save the adapter again") from error
    if not isinstance(base_name, str) or not base_name.strip():
        raise BadInputError(f"{folder / CONFIG} tells no base_model_name_or_path; {BASE_ADVICE}")
    if looks_like_path(base_name) and not Path(base_name).exists():
        raise BadInputError(
            f"{folder / CONFIG} tells the base model {base_name}, which does not exist; {BASE_ADVICE}"
        )
    return base_name


def with_adapter(model: Any, folder: Path) -> Any:
    """The base model with the adapter of a folder, unmerged and frozen.

    Raises:
        BadInputError: peft is missing, or the adapter does not fit the base model or lacks weights.
    """
    require_packages(f"the adapter in {folder}", "peft", extra="train")
    import peft

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*missing adapter keys")
            return peft.PeftModel.from_pretrained(model, str(folder))
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, UserWarning) as error:
        reason = " ".join(str(error).split())
        raise BadInputError(
            f"the adapter in {folder} does not fit the base model {type(model).__name__}: {reason[:300]}"
        ) from error


def adapter_record(model: Any) -> dict[str, Any] | None:
    """What identifies the adapters at work in a model, JSON-safe; None for a model without any.

    active are the names of those at work (none where they are disabled), adapters the method and the base
    model that each was trained on, by name.
    """
    configs = _configs(model)
    if not configs:
        return None
    return {
        "active": _active(model),
        "adapters": {
            name: {"method": _method(config), "base": config.base_model_name_or_path}
            for name, config in sorted(configs.items())
        },
    }


def check_adapters(model: Any) -> None:
    """Refuse a model with an adapter at work that changes no weight.

    Raises:
        UnsupportedModelError: prompt, prefix or adaption tuning, or a mixture by the input (X-LoRA).
    """
    configs = _configs(model)
    for name in _active(model) if configs else ():
        method = _method(configs[name])
        if method in _CHANGES_NO_WEIGHT:
            raise UnsupportedModelError(
                f"the adapter {name!r} of {type(model).__name__} is of the method {method}, which changes no "
                "weight but what attention reads or which weights; measure the base model, or an adapter of "
                "weights (LoRA, DoRA, IA3, ...)"
            )


def _configs(model: Any) -> dict[str, Any]:
    configs = getattr(model, "peft_config", None)
    return configs if isinstance(configs, dict) else {}


def _method(config: Any) -> str:
    method = str(getattr(config.peft_type, "value", config.peft_type))
    return "DORA" if getattr(config, "use_dora", False) else method


def _active(model: Any) -> list[str]:
    """The adapters at work; a property of peft's models, a method of those of transformers."""
    if any(getattr(module, "disable_adapters", None) is True for module in model.modules()):
        return []
    active: Any = model.active_adapters
    names: Any = active() if callable(active) else active
    return list(names)
