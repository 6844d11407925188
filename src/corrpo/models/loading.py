"""Models and tokenizers from a local folder or the hub, checked to be what they are taken for."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from corrpo.errors import BadInputError, CorrpoError, UnsupportedModelError
from corrpo.models.peft_adapters import base_of, is_adapter, with_adapter

DEVICE_MAPS = ("auto", "balanced", "balanced_low_0", "sequential")
"""How accelerate may spread a model over GPUs."""
_DTYPES = ("auto", "float32", "bfloat16", "float16", "float64")
_QUANTIZATIONS = ("none", "8bit", "4bit")


@dataclass(frozen=True)
class Loading:
    """How checkpoints are loaded; see `corrpo.load_model`."""

    device: str = "auto"
    dtype: str = "auto"
    trust_remote_code: bool = False
    quantization: str = "none"
    device_map: str | None = None


def load_model(
    name: str,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    device_map: str | None = None,
    trust_remote_code: bool = False,
    quantization: str = "none",
    base: str | None = None,
) -> tuple[Any, Any]:
    """A causal LM in eval mode and its tokenizer.

    The folder of an adapter (peft's LoRA, DoRA, ...) gives its base model with the adapter on it, unmerged;
    the tokenizer is the adapter's own if it has one.

    Args:
        name: a local folder, or a name on the hub.
        revision: branch, tag or commit on the hub.
        dtype: "auto" (as saved), "float32", "bfloat16", "float16" or "float64".
        device: "auto" (a GPU if there is one), or a torch device.
        device_map: "auto" or another of accelerate's: the layers spread over the GPUs of this machine, in
            place of `device`.
        trust_remote_code: run code that comes with the model.
        quantization: "none" (as saved), or "8bit" or "4bit": quantize the weights by bitsandbytes.
        base: the base model of an adapter, in place of what its adapter_config.json tells.

    Raises:
        BadInputError: no such folder or hub model, an empty or broken folder, weights that are missing, a
            library that is not installed.
        UnsupportedModelError: not a causal LM, or one that `device_map` put on the CPU or the disk in part,
            as it does not fit on the GPUs.
    """
    if dtype not in _DTYPES:
        raise BadInputError(f"dtype {dtype!r} is unknown; expected one of {', '.join(_DTYPES)}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.device(device)
    except RuntimeError as error:
        raise BadInputError(f"device {device!r} is unknown: {_first_line(error)}") from error
    quantized = _quantization(quantization)
    if device_map is not None:
        _check_device_map(device_map)
    _check_folder(name)
    adapter = Path(name) if is_adapter(Path(name)) else None
    if adapter is None and base is not None:
        raise BadInputError(f"base={base!r}: {name} is no folder of an adapter, and has no base model")
    source = name if adapter is None else base_of(adapter, base)
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    model = _load_weights(source, dtype, device_map or {"": device}, options, quantized)
    if adapter is not None:
        model = with_adapter(model, adapter)
        if dtype == "float64":
            model = model.double()
    check_present(model)
    try:
        tokenizer = AutoTokenizer.from_pretrained(_tokenizer_source(adapter, source), **options)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise BadInputError(f"cannot load the tokenizer of {name}: {_first_line(error)}") from error
    return model.eval(), tokenizer


def _load_weights(
    name: str,
    dtype: str,
    places: str | dict[str, str],
    options: dict[str, Any],
    quantized: BitsAndBytesConfig | None,
) -> Any:
    """The model on its device or devices, a device map of accelerate's; none of its weights made up."""
    config = _config(name, options)
    how: dict[str, Any] = {}
    if quantized is not None:
        how["quantization_config"] = quantized
    packed = quantized is not None or getattr(config, "quantization_config", None) is not None
    if packed or isinstance(places, str):  # quantized weights are packed where they are loaded
        how["device_map"] = places
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            name, dtype=dtype, output_loading_info=True, **how, **options
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, _safetensors_error()) as error:
        raise BadInputError(f"cannot load {name}: {_first_line(error)}") from error
    model, report = loaded
    missing = sorted(report["missing_keys"])
    if missing:
        raise BadInputError(
            f"{name}: {len(missing)} weights of {type(model).__name__} are not in the checkpoint "
            f"({', '.join(missing[:3])}, ...), and random ones in their place would be measured"
        )
    return model if packed or isinstance(places, str) else model.to(places[""])


def _quantization(name: str) -> BitsAndBytesConfig | None:
    """How weights are to be quantized while they are loaded; None for as saved."""
    if name not in _QUANTIZATIONS:
        raise BadInputError(f"quantization {name!r} is unknown; expected one of {', '.join(_QUANTIZATIONS)}")
    if name == "none":
        return None
    if find_spec("bitsandbytes") is None:
        raise BadInputError(
            f"quantization {name!r} needs bitsandbytes, which is not installed: pip install bitsandbytes"
        )
    return BitsAndBytesConfig(load_in_8bit=name == "8bit", load_in_4bit=name == "4bit")


def _tokenizer_source(adapter: Path | None, source: str) -> str:
    own = adapter is not None and (adapter / "tokenizer_config.json").is_file()
    return str(adapter) if own else source


def _check_device_map(device_map: str) -> None:
    if device_map not in DEVICE_MAPS:
        raise BadInputError(f"device_map {device_map!r} is unknown; expected one of {', '.join(DEVICE_MAPS)}")
    if find_spec("accelerate") is None:
        raise CorrpoError("device_map needs accelerate, which is not installed: pip install accelerate")


def check_present(model: nn.Module) -> None:
    """Raise `UnsupportedModelError` on a model some of whose weights are elsewhere between its passes.

    accelerate offloads them to the CPU or the disk and brings each in for its own forward alone; estimators
    read weights at other times too.
    """
    away = [name for name, parameter in model.named_parameters() if parameter.is_meta]
    if away:
        raise UnsupportedModelError(
            f"{len(away)} weights of {type(model).__name__} (first: {away[0]}) are offloaded to the CPU or "
            "the disk between passes, where they cannot be read; use more or larger GPUs, a narrower dtype "
            "(bfloat16), or --device cpu"
        )


def load_skeleton(
    name: str, *, revision: str | None = None, trust_remote_code: bool = False, base: str | None = None
) -> Any:
    """A causal LM without weights, on torch's meta device, from its config alone: shapes, and no memory.

    The folder of an adapter gives its base model, whose projections are the ones measured.

    Args:
        name: a local folder, or a name on the hub; its config.json is all that is read.
        revision: branch, tag or commit on the hub.
        trust_remote_code: run code that comes with the model.
        base: the base model of an adapter, in place of what its adapter_config.json tells.

    Raises:
        BadInputError: no such folder or hub model, or a config that no model can be built from.
        UnsupportedModelError: not a causal LM.
    """
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    _check_folder(name)
    config = _config(base_of(Path(name), base) if is_adapter(Path(name)) else name, options)
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code).eval()
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise BadInputError(f"cannot build {name} from its config: {_first_line(error)}") from error


def _config(name: str, options: dict[str, Any]) -> Any:
    """The config of a causal LM; see `load_model` for what is raised."""
    try:
        config = AutoConfig.from_pretrained(name, **options)
    except (OSError, ValueError, KeyError) as error:
        raise BadInputError(f"cannot load the config of {name}: {_first_line(error)}") from error
    if type(config) not in AutoModelForCausalLM._model_mapping and not options["trust_remote_code"]:
        raise UnsupportedModelError(f"{name} is a {config.model_type} model, which is not a causal LM")
    return config


def _check_folder(name: str) -> None:
    """Raise on a local folder that is empty or holds no model, or a path that does not exist."""
    path = Path(name)
    if path.is_dir():
        if not (path / "config.json").is_file() and not is_adapter(path):
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


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Without the bars and remarks of transformers, and as before at the end."""
    logs = transformers.logging
    level, bars = logs.get_verbosity(), logs.is_progress_bar_enabled()
    logs.set_verbosity_error()
    logs.disable_progress_bar()
    try:
        yield
    finally:
        logs.set_verbosity(level)
        if bars:
            logs.enable_progress_bar()


def untrained_model(model: Any, seed: int) -> Any:
    """A model of the same architecture, dtype and devices with random weights, drawn from `seed`."""
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        fresh = AutoModelForCausalLM.from_config(model.config)
    fresh = fresh.to(dtype=next(model.parameters()).dtype).eval()
    places = getattr(model, "hf_device_map", None) or {}
    if len(set(places.values())) < 2:
        return fresh.to(device)
    from accelerate import dispatch_model

    return dispatch_model(fresh, places)
