"""gguf's reader of files without what takes it minutes: the tokens, scores and merges one by one."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFValueType
from gguf.gguf_reader import GGUFReader, ReaderField

_EMBEDDING = "token_embd.weight"
_LONGEST_LIST = 10_000


class ShortReader(GGUFReader):
    """A `GGUFReader` that passes over the long lists in a file's metadata: they are there, and empty.

    transformers reads the tokenizer by another way, and takes from this one the config and the tensors. The
    number of tokens is stated in any case, as ARCHITECTURE.vocab_size.
    """

    def __init__(self, path: Path | str):
        super().__init__(path)
        rows = next((int(tensor.shape[-1]) for tensor in self.tensors if tensor.name == _EMBEDDING), None)
        architecture = self.fields.get("general.architecture")
        key = f"{architecture and architecture.contents()}.vocab_size"
        if rows is not None and key not in self.fields:
            value = np.array([rows], dtype=np.uint32)
            self.fields[key] = ReaderField(0, key, [value], [0], [GGUFValueType.UINT32])

    def _get_field_parts(
        self, orig_offs: int, raw_type: Any
    ) -> tuple[int, list[Any], list[int], list[GGUFValueType]]:
        if raw_type != GGUFValueType.ARRAY:
            return super()._get_field_parts(orig_offs, raw_type)
        order = "<" if self.byte_order == "I" else ">"
        content = self.data.data
        kind, count = struct.unpack_from(f"{order}IQ", content, orig_offs)
        if count <= _LONGEST_LIST:
            return super()._get_field_parts(orig_offs, raw_type)
        end = orig_offs + 12
        if kind == GGUFValueType.STRING:
            length = struct.Struct(f"{order}Q")
            for _ in range(count):
                end += length.size + length.unpack_from(content, end)[0]
        else:
            end += count * self.gguf_scalar_to_np[GGUFValueType(kind)]().itemsize
        return end - orig_offs, [], [], [GGUFValueType.ARRAY, GGUFValueType(kind)]
