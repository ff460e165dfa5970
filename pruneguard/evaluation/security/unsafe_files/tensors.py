"""The header of a safetensors file: what it may say, and whether it says it once."""

import json
import math
from collections.abc import Iterator
from typing import Any

_HEADER_MAX = 100_000_000  # as in the format's own reader
_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
}


def objections(content: bytes) -> Iterator[str]:
    """What is wrong with the header, or with the bytes that it speaks of: every byte belongs to exactly one tensor."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or not 0 < length <= min(_HEADER_MAX, len(content) - 8):
        yield f"has a header of {length} bytes in a file of {len(content)}"
        return
    try:
        header = json.loads(content[8 : 8 + length], object_pairs_hook=_once)
    except (RecursionError, ValueError) as error:
        yield f"has a header that is not read: {error}"
        return
    if not isinstance(header, dict):
        yield "has a header that is no table of tensors"
        return
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        yield "has metadata that are not texts"
    pieces = []
    for name, entry in header.items():
        try:
            pieces.append(_piece(entry))
        except (KeyError, TypeError, ValueError):
            yield f"has a tensor {name!r:.80} whose type, shape and place do not agree"
            return
    end = 0
    for start, stop in sorted(pieces):
        if start != end:
            fault = "a hole" if start > end else "tensors on top of each other"
            yield f"has {fault} at byte {min(start, end)} of its data"
            return
        end = stop
    if end != len(content) - 8 - length:
        yield f"has {len(content) - 8 - length} bytes of data of which tensors take {end}"


def _piece(entry: dict[str, Any]) -> tuple[int, int]:
    """Where a tensor lies. Raises KeyError, TypeError or ValueError when that is not what its type and shape take."""
    start, stop = entry["data_offsets"]
    shape = entry["shape"]
    if not all(type(number) is int and number >= 0 for number in (start, stop, *shape)):
        raise TypeError
    if _BITS[entry["dtype"]] * math.prod(shape) != 8 * (stop - start):
        raise ValueError
    return start, stop


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a name stands there twice")
    return table
