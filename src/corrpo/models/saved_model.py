"""The folder of a saved model: its weight files, and whether it is complete, without reading them.

A running job writes configuration, weights and tokenizer one after another. A folder is complete if each of
them is there and none of their files ends too early. Whether training could go on from it (optimizer, random
states) does not matter here.
"""

import json
import struct
import zipfile
from pathlib import Path
from typing import Any

from corrpo.errors import BadInputError
from corrpo.models.peft_adapters import CONFIG, base_of, is_adapter

_SINGLE = ("model.safetensors", "pytorch_model.bin")
_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin")
TOKENIZERS = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
)
_CONFIGS = ("config.json", CONFIG, "generation_config.json")
_OF_TOKENIZERS = ("tokenizer_config.json", "special_tokens_map.json", "merges.txt", "chat_template.jinja")
_LARGEST_HEADER = 100_000_000
_MARK = 8


def looks_like_model(folder: Path) -> bool:
    """True if a folder holds any file of a saved model or adapter, complete or not."""
    names = ("config.json", "adapter_config.json", *_SINGLE, *_INDEXES)
    return any((folder / name).exists() for name in names) or any(folder.glob("model-*.safetensors"))


def why_incomplete(folder: Path) -> str | None:
    """What keeps a folder from being loaded as a model with its tokenizer; None if nothing does.

    The part of a sentence: no or half a config.json; no weights, a shard that is missing, a file that ends
    too early; no tokenizer, which an adapter alone may take from its base model; an adapter whose base model
    has gone.
    """
    if is_adapter(folder):
        return _why_incomplete_adapter(folder)
    if not (folder / "config.json").exists():
        return "it has no config.json"
    if not isinstance(_json(folder / "config.json"), dict):
        return "its config.json ends too early"
    return _why_no_weights(folder) or _why_no_tokenizer(folder)


def _why_incomplete_adapter(folder: Path) -> str | None:
    if not isinstance(_json(folder / CONFIG), dict):
        return f"its {CONFIG} ends too early"
    try:
        base_of(folder)
    except BadInputError as error:
        return str(error)
    present = [path for path in (*_ADAPTERS, *TOKENIZERS) if (folder / path).exists()]
    no_weights = f"it has no weights ({' or '.join(_ADAPTERS)})"
    tokenizer = any(name in TOKENIZERS for name in present)
    return (_why_no_weights(folder) if present[:1] and present[0] in _ADAPTERS else no_weights) or (
        _why_no_tokenizer(folder) if tokenizer else None
    )


def weight_files(folder: Path) -> list[Path]:
    """The files that the weights of a complete model folder are in; those that `from_pretrained` would read.

    Empty if there are none. A shard that an index names may be missing. A GGUF file is its own.
    """
    if folder.is_file():
        return [folder]
    adapter = [folder / name for name in _ADAPTERS if (folder / name).exists()]
    if is_adapter(folder):
        return adapter[:1]
    for single, index in zip(_SINGLE, _INDEXES, strict=True):
        if (folder / single).exists():
            return [folder / single]
        if (folder / index).exists():
            content = _json(folder / index)
            shards = content.get("weight_map") if isinstance(content, dict) else None
            names = shards.values() if isinstance(shards, dict) else ()
            return [folder / name for name in sorted(set(map(str, names)))]
    return []


def deciding_files(folder: Path) -> list[Path]:
    """The files that decide what a model writes: weights, configuration, tokenizer and chat template.

    A GGUF file is its own. A shard that an index names may be missing.
    """
    others = () if folder.is_file() else (*_CONFIGS, *TOKENIZERS, *_OF_TOKENIZERS)
    return [*weight_files(folder), *(folder / name for name in others if (folder / name).exists())]


def file_stamps(folder: Path) -> list[list[Any]]:
    """Name, size in bytes and time of change in nanoseconds of each of the `deciding_files`.

    Raises:
        OSError: a file of the weights has gone.
    """
    stats = [(path.name, path.stat()) for path in deciding_files(folder)]
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]


def saved_dtype(folder: Path) -> str | None:
    """The dtype in config.json, such as "bfloat16"; None without one."""
    config = _json(folder / "config.json")
    dtype = (config.get("dtype") or config.get("torch_dtype")) if isinstance(config, dict) else None
    return dtype if isinstance(dtype, str) else None


def _json(path: Path) -> Any:
    """The content of a JSON file; None if it cannot be read or is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _why_no_weights(folder: Path) -> str | None:
    files = weight_files(folder)
    if not files:
        for index in _INDEXES:
            if (folder / index).exists():
                return f"its {index} names no shards"
        if any(folder.glob("model-*.safetensors")):
            return "its weights are in shards without an index"
        return "it has no weights (model.safetensors or pytorch_model.bin)"
    for path in files:
        if not path.exists():
            return f"{path.name} is missing"
        is_complete = _is_complete_safetensors if path.suffix == ".safetensors" else _is_complete_pickle
        if not is_complete(path):
            return f"{path.name} ends too early"
    return None


def _is_complete_safetensors(path: Path) -> bool:
    """Compare the size with the end of the last tensor in the header: safetensors' format, version 1."""
    size = path.stat().st_size
    with path.open("rb") as file:
        mark = file.read(_MARK)
        length = struct.unpack("<Q", mark)[0] if len(mark) == _MARK else 0
        if not 0 < length <= min(_LARGEST_HEADER, size):
            return False
        try:
            header = json.loads(file.read(length))
            ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            return False
    return size == _MARK + length + max(ends, default=0)


def _is_complete_pickle(path: Path) -> bool:
    """torch's format is a ZIP file, whose directory comes last; older files, of pickles, are not checked."""
    with path.open("rb") as file:
        begins = file.read(2)
    return zipfile.is_zipfile(path) if begins == b"PK" else bool(begins)


def _why_no_tokenizer(folder: Path) -> str | None:
    present = [folder / name for name in TOKENIZERS if (folder / name).exists()]
    if not present:
        return "it has no tokenizer; save the model's own beside the weights"
    for path in present:
        if path.suffix == ".json" and not _ends_like_json(path):
            return f"its {path.name} ends too early"
    return None


def _ends_like_json(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 64))
        return file.read().rstrip()[-1:] == b"}"
