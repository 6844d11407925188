"""Models and tokenizers from a folder, a GGUF file or the hub, checked to be what they are taken for."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING, AutoHfQuantizer

from corrpo.errors import BadInputError, UnsupportedModelError, require_packages, unknown_name
from corrpo.models.checkpoints import Checkpoint
from corrpo.models.devices import is_spread, usable_device
from corrpo.models.gguf import is_gguf, open_gguf
from corrpo.models.gguf_model import generation_config, load_gguf, read_config, read_tokenizer
from corrpo.models.hub import check_reachable
from corrpo.models.keywords import keywords_of
from corrpo.models.load_options import LoadOptions
from corrpo.models.loading_errors import loading_told
from corrpo.models.model_names import check_not_missing, model_location
from corrpo.models.peft_adapters import BASE_ADVICE, base_of, is_adapter, with_adapter
from corrpo.models.saved_model import TOKENIZERS
from corrpo.models.turns import check_module


@keywords_of(LoadOptions)
def load_model(name: str | os.PathLike[str], options: LoadOptions) -> tuple[Any, Any]:
    """A causal LM in eval mode and its tokenizer.

    The folder of an adapter (peft's LoRA, DoRA, ...) gives its base model with the adapter on it, unmerged;
    the tokenizer is the adapter's own if it has one.

    Args:
        name: what the command line takes: a local folder, a .gguf file, a name on the hub, or
            lab:FAMILY/KIND.
        options: given as keywords.

    Raises:
        BadInputError: no such folder, file or hub model, an empty or broken one, weights that are missing, a
            library that is not installed.
        UnsupportedModelError: not a causal LM, or one that `device_map` put on the CPU or the disk in part,
            as it does not fit on the GPUs.

    >>> model, tokenizer = load_model("lab:qwen2/base", device="cpu")
    >>> type(model).__name__
    'Qwen2ForCausalLM'
    """
    if not isinstance(name, str | os.PathLike):
        raise BadInputError(f"model {name!r}: expected a name or a folder, not a {type(name).__name__}")
    name = os.fspath(name)
    device = usable_device(options.device)
    quantized = _quantization(options.quantization)
    if options.device_map is not None:
        require_packages("device_map", "accelerate")
    adapter, source = _adapter_and_source(name, options.base, options.revision)
    hub: dict[str, Any] = {"revision": options.revision, "trust_remote_code": options.trust_remote_code}
    with _base_advised(adapter, options.base):
        model = _load_weights(source, options.dtype, options.device_map or {"": device}, hub, quantized)
    if adapter is not None:
        model = with_adapter(model, adapter)
        if options.dtype == "float64":
            model = model.double()
    check_present(model)
    tokenizer = load_tokenizer(_tokenizer_source(adapter, source), hub)
    if is_gguf(source):
        model.generation_config = generation_config(open_gguf(Path(source)), tokenizer)
    return model.eval(), tokenizer


def load_checkpoint(checkpoint: Checkpoint, options: LoadOptions, device: str) -> tuple[Any, Any]:
    """`load_model` of a checkpoint, on `device` in place of the device of `options`.

    The revision is the checkpoint's; the base model of `options` is that of adapters alone.
    """
    base = options.base if is_adapter(Path(checkpoint.source)) else None
    of_checkpoint = replace(options, device=device, revision=checkpoint.revision, base=base)
    return load_model(checkpoint.source, **vars(of_checkpoint))


@contextmanager
def _base_advised(adapter: Path | None, base: str | None) -> Iterator[None]:
    """An error about the base model that an adapter names says how to give another."""
    try:
        yield
    except BadInputError as error:
        if adapter is None or base is not None:
            raise
        raise BadInputError(f"the base model that {adapter} names: {error}; {BASE_ADVICE}") from error


def _adapter_and_source(name: str, base: str | None, revision: str | None) -> tuple[Path | None, str]:
    """The adapter's folder, if `name` is one, and the folder or hub name of the full model."""
    location = model_location(name)
    _check_folder(location, revision)
    folder = Path(location)
    if is_adapter(folder):
        return folder, base_of(folder, None if base is None else model_location(base))
    if base is not None:
        raise BadInputError(f"base={base!r}: {name} is no folder of an adapter, and has no base model")
    return None, location


def _load_weights(
    name: str,
    dtype: str,
    places: str | dict[str, str],
    options: dict[str, Any],
    quantized: BitsAndBytesConfig | None,
) -> Any:
    """The model on its device or devices, a device map of accelerate's; none of its weights made up."""
    file = open_gguf(Path(name)) if is_gguf(name) else None
    if file is not None and quantized is not None:
        raise BadInputError(f"quantization of {name}: quantize what `corrpo convert {name} FOLDER` writes")
    config = causal_lm_config(name, options) if file is None else read_config(file)
    how: dict[str, Any] = {}
    if quantized is not None:
        how["quantization_config"] = quantized
    packed = quantized is not None or getattr(config, "quantization_config", None) is not None
    if packed or isinstance(places, str):  # quantized weights are packed where they are loaded
        how["device_map"] = places
    load: Any = partial(AutoModelForCausalLM.from_pretrained, name, **LOADING, **options)
    if file is not None:
        load = partial(load_gguf, file, config)
    model = complete_model(name, partial(load, dtype=dtype, **how))
    return model if packed or isinstance(places, str) else model.to(places[""])


LOADING = {"output_loading_info": True, "ignore_mismatched_sizes": True}
"""How `from_pretrained` is called for `complete_model`, which refuses weights of other shapes by name."""


def complete_model(name: str, load: Callable[[], Any]) -> Any:
    """The model that `load` gives with its loading info, none of whose weights were made up."""
    with loading_told(f"load the weights of {name}", name), _bars_in_terminals():
        model, report = load()
    if mismatched := sorted(report.get("mismatched_keys", ())):
        key, saved, expected = mismatched[0]
        raise BadInputError(
            f"{name}: {len(mismatched)} weights have other shapes than its config says (first: {key} is "
            f"{list(saved)} in the file, and {list(expected)} by the config); take both from one model"
        )
    missing = sorted(report["missing_keys"])
    if missing:
        raise BadInputError(
            f"{name}: {len(missing)} weights of {type(model).__name__} are not in the checkpoint "
            f"({', '.join(missing[:3])}, ...), and random ones in their place would be used"
        )
    return model


def _quantization(name: str) -> BitsAndBytesConfig | None:
    """How weights are to be quantized while they are loaded; None for as saved."""
    if name == "none":
        return None
    require_packages(f"quantization {name!r}", "bitsandbytes")
    return BitsAndBytesConfig(load_in_8bit=name == "8bit", load_in_4bit=name == "4bit")


def load_tokenizer(source: str, hub: dict[str, Any]) -> Any:
    """The tokenizer of a folder, a .gguf file or a name on the hub."""
    if is_gguf(source):
        return read_tokenizer(open_gguf(Path(source)))
    with loading_told(f"load the tokenizer of {source}", source):
        tokenizer = AutoTokenizer.from_pretrained(source, **hub)
        has_files = not Path(source).is_dir() or any((Path(source) / name).exists() for name in TOKENIZERS)
        if not has_files and not tokenizer("a", add_special_tokens=False).input_ids:
            raise BadInputError(
                f"{source} has no tokenizer (none of {', '.join(TOKENIZERS)}): save the model's own beside "
                "the weights, by tokenizer.save_pretrained"
            )
    return tokenizer


def _tokenizer_source(adapter: Path | None, source: str) -> str:
    own = adapter is not None and (adapter / "tokenizer_config.json").is_file()
    return str(adapter) if own else source


def check_present(model: nn.Module) -> None:
    """Raise `UnsupportedModelError` on a model some of whose weights are elsewhere between its passes.

    accelerate offloads them to the CPU or the disk and brings each in for its own forward alone; estimators
    read weights at other times too.
    """
    check_module(model)
    away = [name for name, parameter in model.named_parameters() if parameter.is_meta]
    if away:
        raise UnsupportedModelError(
            f"{len(away)} weights of {type(model).__name__} (first: {away[0]}) are offloaded to the CPU or "
            "the disk between passes, where they cannot be read; use more or larger GPUs, a narrower dtype "
            "(bfloat16), or --device cpu"
        )


@keywords_of(LoadOptions)
def load_skeleton(name: str, options: LoadOptions) -> Any:
    """A causal LM without weights, on torch's meta device, from its config alone: shapes, and no memory.

    The folder of an adapter gives its base model, whose projections are the ones measured.

    Args:
        name: as `load_model` takes it; config.json, or what a .gguf file states, is all that is read.
        options: given as keywords; revision, trust_remote_code and base are all that is read.

    Raises:
        BadInputError: no such folder or hub model, or a config that no model can be built from.
        UnsupportedModelError: not a causal LM.
    """
    _, source = _adapter_and_source(name, options.base, options.revision)
    trusted = options.trust_remote_code
    config = causal_lm_config(source, {"revision": options.revision, "trust_remote_code": trusted})
    with loading_told(f"build {name} from its config", source), torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, trust_remote_code=trusted).eval()


def causal_lm_config(name: str, options: dict[str, Any]) -> Any:
    """The config of a causal LM; see `load_model` for what is raised."""
    if is_gguf(name):
        return read_config(open_gguf(Path(name)))
    with loading_told(f"load the config of {name}", name):
        config = AutoConfig.from_pretrained(name, **options)
        _check_quantization(name, getattr(config, "quantization_config", None))
    if type(config) not in AutoModelForCausalLM._model_mapping and not options["trust_remote_code"]:
        raise UnsupportedModelError(f"{name} is a {config.model_type} model, which is not a causal LM")
    return config


def _check_quantization(name: str, packed: Any) -> None:
    """Raise on weights packed in a way that transformers would pass over, and read as if they were not."""
    given = packed.to_dict() if hasattr(packed, "to_dict") else packed
    if given is not None and not AutoHfQuantizer.supports_quant_method(given):
        unknown = unknown_name("quant_method", given.get("quant_method"), AUTO_QUANTIZATION_CONFIG_MAPPING)
        raise BadInputError(f"the quantization_config of {name}: {unknown}")


def _check_folder(name: str, revision: str | None) -> None:
    """Raise on a local folder that is empty or holds no model, or a path that does not exist."""
    path = Path(name)
    if is_gguf(name):
        return
    if path.is_dir():
        if not (path / "config.json").is_file() and not is_adapter(path):
            names = sorted(p.name for p in path.iterdir())
            files = [str(path / file) for file in names if is_gguf(file)]
            expected = f"give the file itself: {files[0]}" if files else "expected a saved model"
            holds = ", ".join(names[:5]) or "nothing"
            raise BadInputError(f"{name} holds no config.json (it holds {holds}); {expected}")
    else:
        check_not_missing(name)
        check_reachable(name, revision)


@contextmanager
def _bars_in_terminals() -> Iterator[None]:
    """Without the bars of transformers where standard error is no terminal."""
    logs = transformers.logging
    bars = logs.is_progress_bar_enabled()
    if not sys.stderr.isatty():
        logs.disable_progress_bar()
    try:
        yield
    finally:
        if bars:
            logs.enable_progress_bar()


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
    if not is_spread(model):
        return fresh.to(device)
    from accelerate import dispatch_model

    return dispatch_model(fresh, model.hf_device_map)
