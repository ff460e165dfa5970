"""A safetensors file as few bytes, without loss: the last stage of Deep Compression (Han 2016, arXiv 1510.00149).

What makes weights few in value is `pruning.sharing`, what makes them zero `pruning.masks`; this writes down whatever is
there. A dense network in float32 loses about a sixth, one of 80 % zeros shared in 5 bits about 95 %.

A file: magic, SHA-256 of the safetensors file, its size, the size of its header, and of its header deflated (the header
is kept to the letter); then each tensor in the order of their bytes: its size here, and its content (`pruning.coding`).

Neither torch nor the safetensors library is needed to decode; numpy is: in pure Python a million weights take minutes.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterator

import numpy as np

from pruneguard import canonical
from pruneguard.errors import IntegrityError, InvalidInputError
from pruneguard.pruning import coding
from pruneguard.pruning.tensors import ITEM_BYTES

MAGIC = b"pruneguard/coded-weights/v1\n"
SIZE_MAX = 1 << 32
_HEAD = struct.Struct("<32sQQQ")
_TENSOR = struct.Struct("<Q")


def encode(content: bytes) -> bytes:
    """The coded form of a safetensors file; `decode` gives it back bit for bit.

    Raises InvalidInputError for bytes that are no safetensors file.
    """
    header, spans = _header(content)
    deflated = zlib.compress(header, 9)
    parts = [MAGIC, _HEAD.pack(hashlib.sha256(content).digest(), len(content), len(header), len(deflated)), deflated]
    body = memoryview(content)[len(header) :]
    for width, start, end in spans:
        coded = coding.encode(np.frombuffer(body[start:end], f"<u{width}"))
        parts += [_TENSOR.pack(len(coded)), coded]
    return b"".join(parts)


def decode(content: bytes, *, size_max: int = SIZE_MAX) -> bytes:
    """The safetensors file that `encode` was given.

    A file is believed about its size only as far as its own bytes reach: raw entries are there, a code is a bit or more
    and stands for one entry, or for 255 zeros. Raises InvalidInputError for what is no such file, is cut off, has more
    bytes than it should, or would be larger than `size_max`; IntegrityError when what it holds is not what was coded.
    """
    if not content.startswith(MAGIC) or len(content) < len(MAGIC) + _HEAD.size:
        raise InvalidInputError(f"{len(content)} bytes beginning with {content[:28]!r} are no coded weights (v1)")
    digest, size, header_size, deflated = _HEAD.unpack_from(content, len(MAGIC))
    position = len(MAGIC) + _HEAD.size
    if not header_size <= size <= size_max or deflated > len(content) - position:
        raise InvalidInputError(
            f"{size} bytes with a header of {header_size} are announced, {deflated} bytes of it in this file of "
            f"{len(content)}; at most {size_max} are decoded. The file is damaged, or size_max has to be raised"
        )
    header = _inflate(content[position : position + deflated], header_size)
    spans = list(_spans(header, size - header_size))
    position += deflated
    made = hashlib.sha256(header)
    parts = [header]
    for width, start, end in spans:
        coded = _coded(content, position)
        position += _TENSOR.size + len(coded)
        data = coding.decode(coded, (end - start) // width, np.dtype(f"<u{width}")).tobytes()
        made.update(data)
        parts.append(data)
    if position != len(content):
        raise InvalidInputError(f"{len(content) - position} bytes follow the last tensor; the file is damaged")
    if made.digest() != digest:
        raise IntegrityError(
            f"these coded weights give sha256:{made.hexdigest()}; they were made from sha256:{digest.hex()}. "
            "Do not load them; take another copy"
        )
    return b"".join(parts)


def _header(content: bytes) -> tuple[bytes, list[tuple[int, int, int]]]:
    """The header with its length in front, and the spans of the tensors behind it."""
    length = int.from_bytes(content[:8], "little") if len(content) >= 8 else len(content)
    if length > len(content) - 8:
        raise InvalidInputError(f"no safetensors file: a header of {length} bytes is announced in {len(content)}")
    header = content[: 8 + length]
    return header, list(_spans(header, len(content) - len(header)))


def _spans(header: bytes, size: int) -> Iterator[tuple[int, int, int]]:
    """Bytes of an entry, first byte and end of each tensor, as they lie: they fill `size` bytes without a gap."""
    try:
        entries = [entry for name, entry in canonical.decode(header[8:]).items() if name != "__metadata__"]
        spans = sorted((*entry["data_offsets"], entry["dtype"]) for entry in entries)
        position = 0
        for start, end, dtype in spans:
            if type(start) is not int or type(end) is not int or start != position or end < start:
                raise ValueError(f"a tensor lies from {start} to {end}, the one before it ends at {position}")
            width = ITEM_BYTES.get(dtype, 1)
            yield width if (end - start) % width == 0 else 1, start, end
            position = end
        if position != size:
            raise ValueError(f"its tensors take {position} bytes of {size}")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidInputError(f"no safetensors file: {type(error).__name__} {error}") from error


def _coded(content: bytes, position: int) -> memoryview:
    if position + _TENSOR.size > len(content):
        raise InvalidInputError("the file ends before its last tensor; it is cut off")
    (size,) = _TENSOR.unpack_from(content, position)
    position += _TENSOR.size
    if size > len(content) - position:
        raise InvalidInputError(f"a tensor of {size} bytes is announced, {len(content) - position} are left")
    return memoryview(content)[position : position + size]


def _inflate(deflated: bytes, size: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        header = stream.decompress(deflated, size + 1)
    except zlib.error as error:
        raise InvalidInputError(f"the header does not inflate: {error}; the file is damaged") from error
    if len(header) != size or not stream.eof or stream.unused_data:
        raise InvalidInputError(f"the header inflates to {len(header)} bytes or more; expected {size} and no rest")
    return header
