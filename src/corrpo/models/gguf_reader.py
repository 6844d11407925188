"""gguf's reader of files without what takes it minutes: the tokens, scores and merges one by one."""

import struct
from typing import Any

from gguf import GGUFReader, GGUFValueType

_LONGEST_LIST = 10_000


class ShortReader(GGUFReader):
    """A `GGUFReader` that passes over the long lists in a file's metadata: they are there, and empty.

    transformers reads the vocabulary by another way, and takes from this one the config and the tensors.
    """

    def _get_field_parts(
        self, orig_offs: int, raw_type: Any
    ) -> tuple[int, list[Any], list[int], list[GGUFValueType]]:
        if raw_type != GGUFValueType.ARRAY:
            return super()._get_field_parts(orig_offs, raw_type)
        order = "<" if self.byte_order == "I" else ">"
        kind, count = struct.unpack_from(f"{order}IQ", self.data, orig_offs)
        if count <= _LONGEST_LIST:
            return super()._get_field_parts(orig_offs, raw_type)
        end = orig_offs + 12
        if kind == GGUFValueType.STRING:
            content, length = memoryview(self.data), struct.Struct(f"{order}Q")
            for _ in range(count):
                end += length.size + length.unpack_from(content, end)[0]
        else:
            end += count * self.gguf_scalar_to_np[GGUFValueType(kind)]().itemsize
        return end - orig_offs, [], [], [GGUFValueType.ARRAY, GGUFValueType(kind)]
