"""Safetensors files without torch, numpy or the library: what an auditor reads and cuts weights with.

A file is eight bytes of header length, a JSON header padded by spaces to eight bytes, then the tensors one after the
other (https://huggingface.co/docs/safetensors). The reader takes nothing that leaves a byte unaccounted for, so what a
file asks for is never more than the file holds.
"""

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pruneguard import canonical
from pruneguard.errors import InvalidInputError

ITEM_BYTES: Mapping[str, int] = MappingProxyType(
    {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1}
    | {"U16": 2, "I16": 2, "F16": 2, "BF16": 2, "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8, "C64": 8}
)

DIMENSIONS_MAX = 16


@dataclass(frozen=True, slots=True)
class Tensor:
    """Entries row by row, in little-endian bytes; `dtype` is safetensors' name for their type."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes | memoryview

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def item_bytes(self) -> int:
        return ITEM_BYTES[self.dtype]


def read(content: bytes) -> dict[str, Tensor]:
    """The tensors of a file, in its order. Raises InvalidInputError unless they fill it exactly, with no gap."""
    try:
        (length,) = struct.unpack_from("<Q", content)
        if length > len(content) - 8:
            raise InvalidInputError(f"a header of {length} bytes is announced in a file of {len(content)}")
        header, body = canonical.decode(content[8 : 8 + length]), memoryview(content)[8 + length :]
        tensors, position = {}, 0
        for name, entry in header.items():
            tensors[name] = tensor = _tensor(entry, body, position)
            position += len(tensor.data)
    except (struct.error, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidInputError(f"no safetensors file: {type(error).__name__} {error}") from error
    if position != len(body):
        raise InvalidInputError(f"{len(body) - position} bytes of this safetensors file belong to no tensor")
    return tensors


def write(tensors: Mapping[str, Tensor]) -> bytes:
    """The file of these tensors, in the order given."""
    header, position = {}, 0
    for name, tensor in tensors.items():
        offsets = [position, position := position + len(tensor.data)]
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": offsets}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *(tensor.data for tensor in tensors.values())])


def _tensor(entry: Mapping[str, Any], body: memoryview, position: int) -> Tensor:
    if entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"a tensor has dtype, shape and data_offsets; found {sorted(entry)}")
    start, end = entry["data_offsets"]
    shape = tuple(entry["shape"])
    if len(shape) > DIMENSIONS_MAX or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"{list(shape)[:20]} is no shape")
    tensor = Tensor(entry["dtype"], shape, body[start:end])
    if start != position or end > len(body) or end - start != tensor.size * tensor.item_bytes:
        raise ValueError(f"bytes {start} to {end} do not hold {tensor.dtype} {list(shape)} right after byte {position}")
    return tensor
