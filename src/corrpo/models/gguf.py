"""GGUF files: what one states and holds of a model, and whether it is whole; nothing is dequantized here."""

import hashlib
import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corrpo.errors import BadInputError, first_line, require_packages

if TYPE_CHECKING:
    from gguf import ReaderTensor

_PART = re.compile(r"-\d{5}-of-(\d{5})\.gguf$", re.IGNORECASE)
_UNREADABLE = (ValueError, KeyError, IndexError, TypeError, OverflowError, OSError, struct.error)


@dataclass(frozen=True)
class GgufFile:
    """What a GGUF file states and holds.

    Attributes:
        path: of the file.
        metadata: key to value; long lists, such as the tokens, are empty.
        tensors: in the order of the file, read where they are used.
    """

    path: Path
    metadata: dict[str, Any]
    tensors: "tuple[ReaderTensor, ...]"

    @property
    def architecture(self) -> str:
        """llama, qwen2, gemma3, ..."""
        return self.metadata["general.architecture"]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the tensors by name, in torch's order."""
        return {tensor.name: tuple(reversed(tensor.shape.tolist())) for tensor in self.tensors}

    @property
    def weights(self) -> int:
        """How many numbers the tensors hold."""
        return sum(map(math.prod, self.shapes.values()))

    def stated(self, part: str) -> dict[str, Any]:
        """The metadata whose keys begin with a part and a point, without them.

        `stated(file.architecture)` has context_length, rope.freq_base, ...
        """
        prefix = f"{part}."
        return {
            key.removeprefix(prefix): value for key, value in self.metadata.items() if key.startswith(prefix)
        }

    def record(self) -> dict[str, str]:
        """What identifies the file in a fingerprint: its quantization, such as Q4_K_M, and its SHA-256."""
        from gguf import LlamaFileType

        known = {kind.value: kind.name.removeprefix("MOSTLY_") for kind in LlamaFileType}
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        stated = self.metadata.get("general.file_type", -1)
        return {"quantization": known.get(stated, "not stated"), "sha256": digest}


def is_gguf(name: str | Path) -> bool:
    """Whether a model's name is that of a GGUF file, whether or not there is one; a folder is none.

    >>> is_gguf("models/Qwen2.5-0.5B-Q8_0.gguf"), is_gguf("Qwen/Qwen2.5-0.5B-GGUF")
    (True, False)
    """
    return str(name).lower().endswith(".gguf") and not Path(name).is_dir()


def open_gguf(path: Path) -> GgufFile:
    """A GGUF file that is whole and holds a model with its tokenizer.

    Raises:
        BadInputError: no such file; one that is no GGUF, ends too early, is one of several parts, holds an
            adapter or another thing that is no model, or no tokenizer; the extra gguf is not installed.
    """
    if not path.is_file():
        raise BadInputError(f"the file {path} does not exist; a file on the hub is to be downloaded first")
    require_packages(f"the GGUF file {path}", "gguf", "accelerate", extra="gguf")
    from corrpo.models.gguf_reader import ShortReader

    try:
        reader = ShortReader(path)
        metadata = {key: field.contents() for key, field in reader.fields.items()}
    except _UNREADABLE as error:
        raise BadInputError(
            f"{path} is no GGUF file, or ends too early ({first_line(error)}); copy or download it again"
        ) from error
    part = _PART.search(path.name)
    if (part and int(part[1]) > 1) or metadata.get("split.count", 1) not in (0, 1):
        raise BadInputError(
            f"{path} is one of several parts; join them (llama-gguf-split --merge FIRST-PART WHOLE.gguf) and "
            "give the whole file"
        )
    kind = metadata.get("general.type", "model")
    if kind != "model" or "general.architecture" not in metadata or not reader.tensors:
        holds = f"a GGUF file of the type {kind!r}" if kind != "model" else "a GGUF file without a model"
        raise BadInputError(f"{path} is {holds}; give the file of a language model")
    if "tokenizer.ggml.tokens" not in metadata:
        raise BadInputError(f"{path} holds no tokenizer; give a file that was converted with its tokenizer")
    return GgufFile(path, metadata, tuple(reader.tensors))
