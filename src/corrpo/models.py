"""Models and tokenizers from a local folder or the hub, checked to be what they are taken for."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from corrpo.errors import BadInputError, UnsupportedModelError
from corrpo.projections import find_mixers

_DTYPES = ("auto", "float32", "bfloat16", "float16", "float64")


def load_model(
    name: str,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    trust_remote_code: bool = False,
) -> tuple[Any, Any]:
    """A causal LM in eval mode and its tokenizer.

    Args:
        name: a local folder, or a name on the hub.
        revision: branch, tag or commit on the hub.
        dtype: "auto" (as saved), "float32", "bfloat16", "float16" or "float64".
        device: "auto" (a GPU if there is one), or a torch device.
        trust_remote_code: run code that comes with the model.

    Raises:
        BadInputError: no such folder or hub model, an empty or broken folder, weights that are missing.
        UnsupportedModelError: not a causal LM, or one of a family that corrpo does not know.
    """
    if dtype not in _DTYPES:
        raise BadInputError(f"dtype {dtype!r} is unknown; expected one of {', '.join(_DTYPES)}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.device(device)
    except RuntimeError as error:
        raise BadInputError(f"device {device!r} is unknown: {_first_line(error)}") from error
    _check_folder(name)
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        config = AutoConfig.from_pretrained(name, **options)
    except (OSError, ValueError, KeyError) as error:
        raise BadInputError(f"cannot load the config of {name}: {_first_line(error)}") from error
    if type(config) not in AutoModelForCausalLM._model_mapping and not trust_remote_code:
        raise UnsupportedModelError(f"{name} is a {config.model_type} model, which is not a causal LM")
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            name, dtype=dtype, output_loading_info=True, **options
        )
        model, report = loaded
        tokenizer = AutoTokenizer.from_pretrained(name, **options)
    except (OSError, ValueError, KeyError, RuntimeError, _safetensors_error()) as error:
        raise BadInputError(f"cannot load {name}: {_first_line(error)}") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise BadInputError(
            f"{name}: {len(missing)} weights of {type(model).__name__} are not in the checkpoint "
            f"({', '.join(missing[:3])}, ...), and random ones in their place would be measured"
        )
    find_mixers(model)
    return model.to(device).eval(), tokenizer


def _check_folder(name: str) -> None:
    """Raise on a local folder that is empty or holds no model, or a path that does not exist."""
    path = Path(name)
    if path.is_dir():
        if not (path / "config.json").is_file() and (path / "adapter_config.json").is_file():
            raise BadInputError(
                f"{name} holds a LoRA adapter; merge it into its base model first (peft's merge_and_unload), "
                "or load it with peft and call corrpo.measure"
            )
        if not (path / "config.json").is_file():
            holds = ", ".join(sorted(p.name for p in path.iterdir())[:5]) or "nothing"
            raise BadInputError(f"{name} holds no config.json (it holds {holds}); expected a saved model")
    elif path.exists():
        raise BadInputError(f"{name} is a file; expected the folder of a saved model, or a name on the hub")
    elif name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise BadInputError(f"the model folder {name} does not exist")


def _safetensors_error() -> type[Exception]:
    from safetensors import SafetensorError

    return SafetensorError


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def describe_model(model: Any, name: str | None = None, revision: str | None = None) -> dict[str, Any]:
    """What identifies a model in a fingerprint, JSON-safe.

    Returns:
        name, revision (the hub's commit where known), architecture, parameters, attention_layers,
        dtype, digest (`model_digest`).
    """
    return {
        "name": name or getattr(model.config, "_name_or_path", "") or type(model).__name__,
        "revision": getattr(model.config, "_commit_hash", None) or revision,
        "architecture": type(model).__name__,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "attention_layers": sum("q" in mixer.projections for mixer in find_mixers(model)),
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "digest": model_digest(model),
    }


def model_digest(model: nn.Module) -> str:
    """SHA-256 of names, shapes and 64 evenly spaced values of every parameter: another checkpoint shows."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        flat = parameter.detach().reshape(-1)
        step = max(1, flat.numel() // 64)
        digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}".encode())
        digest.update(flat[::step].float().cpu().numpy().tobytes())
    return digest.hexdigest()


def untrained_model(model: Any, seed: int) -> Any:
    """A model of the same architecture, dtype and device with random weights, drawn from `seed`."""
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        fresh = AutoModelForCausalLM.from_config(model.config)
    return fresh.to(device=device, dtype=next(model.parameters()).dtype).eval()
