"""Canonical Huffman codes over small integers (Huffman 1952), decoded a thousand symbols abreast.

A code is known by its lengths alone: codes of one length are consecutive numbers in the order of their symbols, and
shorter ones come first. Symbols are coded in blocks that begin at a byte, so that numpy decodes all blocks in step.

A stream: alphabet (u16), number of symbols (u64), code lengths (4 bits each), bytes in each block (u16 each), blocks.
"""

import heapq
import struct
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pruneguard.errors import InvalidInputError
from pruneguard.workload import Integers

Bytes: TypeAlias = npt.NDArray[np.uint8]
Symbols: TypeAlias = npt.NDArray[np.uint16]

LENGTH_MAX = 15
ALPHABET_MAX = 1 << 12
BLOCK = 1024
_HEAD = struct.Struct("<HQ")
_AT_ONCE = 256 * BLOCK


def lengths(counts: Integers) -> Bytes:
    """Code length of each symbol that occurs `counts` times: 0 for one that never does, at most 15.

    Where Huffman's own code is deeper, counts are halved until it is not. A sole symbol gets one bit.

    >>> lengths(np.array([5, 0, 1, 1, 2])).tolist()
    [1, 0, 3, 3, 2]
    """
    result = np.zeros(len(counts), np.uint8)
    present = np.flatnonzero(counts)
    weights = counts[present].tolist()
    while len(present):
        depths = _depths(weights)
        if max(depths) <= LENGTH_MAX:
            result[present] = depths
            break
        weights = [(weight + 1) // 2 for weight in weights]
    return result


def codes(lengths: Bytes) -> npt.NDArray[np.uint32]:
    """The canonical code of each symbol, in as many low bits as its length says.

    >>> [f"{code:b}" for code in codes(np.array([1, 0, 3, 3, 2], np.uint8))]
    ['0', '0', '110', '111', '10']

    Raises InvalidInputError for lengths that no code has: only a sole symbol's may leave bits unused.
    """
    used = lengths[lengths > 0]
    filled = int((1 << (LENGTH_MAX - used.astype(np.int64))).sum())
    if filled != 1 << LENGTH_MAX and used.tolist() not in ([], [1]):
        raise InvalidInputError(
            f"code lengths fill {filled} of {1 << LENGTH_MAX} words; a Huffman code fills all. The file is damaged"
        )
    order = np.argsort(lengths, kind="stable")[len(lengths) - len(used) :]
    left = LENGTH_MAX - lengths[order].astype(np.int64)
    spans = 1 << left
    result = np.zeros(len(lengths), np.uint32)
    result[order] = (np.cumsum(spans) - spans) >> left
    return result


def encode(symbols: npt.NDArray[np.integer]) -> bytes:
    """The stream of these symbols, each from 0 to below 4096."""
    size = lengths(np.bincount(symbols))
    code, parts, blocks = codes(size), [], []
    for start in range(0, len(symbols), _AT_ONCE):
        some = symbols[start : start + _AT_ONCE]
        sizes, packed = _pack(code[some], size[some])
        blocks.append(sizes)
        parts.append(packed)
    nibbles = np.append(size, np.zeros(len(size) % 2, np.uint8))
    return b"".join(
        [_HEAD.pack(len(size), len(symbols)), (nibbles[::2] << 4 | nibbles[1::2]).tobytes()]
        + [sizes.astype("<u2").tobytes() for sizes in blocks]
        + [packed.tobytes() for packed in parts]
    )


def decode(content: bytes | memoryview) -> tuple[Symbols, int]:
    """The symbols of the stream that `content` begins with, and the number of bytes it takes.

    Needs memory for 8 symbols a byte at most. Raises InvalidInputError for bytes that `encode` did not write.
    """
    if len(content) < _HEAD.size:
        raise InvalidInputError(f"{len(content)} bytes hold no Huffman stream; the file is cut off")
    alphabet, count = _HEAD.unpack_from(content)
    data = np.frombuffer(content, np.uint8, offset=_HEAD.size)
    blocks = -(-count // BLOCK)
    start = (alphabet + 1) // 2 + 2 * blocks
    if alphabet > ALPHABET_MAX or count > 8 * len(data) or start > len(data):
        raise InvalidInputError(
            f"{count} symbols of an alphabet of {alphabet} are announced in {len(data)} bytes; the file is damaged"
        )
    nibbles = data[: (alphabet + 1) // 2]
    size = np.stack([nibbles >> 4, nibbles & 15], axis=1).ravel()
    if size[alphabet:].any():
        raise InvalidInputError("an unused code length is not zero; the file is damaged")
    ends = start + np.cumsum(data[(alphabet + 1) // 2 : start].view("<u2"), dtype=np.int64)
    end = int(ends[-1]) if blocks else start
    if end > len(data):
        raise InvalidInputError(f"the blocks end at byte {end} of {len(data)}; the file is cut off")
    return _unpack(data[:end], ends, size[:alphabet], start=start, count=count), _HEAD.size + end


def _depths(weights: list[int]) -> list[int]:
    """Depth of each leaf in the Huffman tree; of equal weights the one that is older is merged first."""
    if len(weights) == 1:
        return [1]
    parents = [0] * (2 * len(weights) - 1)
    heap = [(weight, node) for node, weight in enumerate(weights)]
    heapq.heapify(heap)
    for parent in range(len(weights), len(parents)):
        (first, left), (second, right) = heapq.heappop(heap), heapq.heappop(heap)
        parents[left] = parents[right] = parent
        heapq.heappush(heap, (first + second, parent))
    depths = [0] * len(parents)
    for node in range(len(parents) - 2, -1, -1):
        depths[node] = depths[parents[node]] + 1
    return depths[: len(weights)]


def _pack(code: npt.NDArray[np.uint32], size: Bytes) -> tuple[Integers, Bytes]:
    """Bytes in each block of these codes, and the blocks."""
    blocks = -(-len(code) // BLOCK)
    grid = np.zeros(blocks * BLOCK, np.int64)
    grid[: len(size)] = size
    within = grid.reshape(blocks, BLOCK).cumsum(axis=1)
    sizes = (within[:, -1] + 7) // 8
    begins = 8 * (np.cumsum(sizes) - sizes)
    starts = (begins[:, None] + within).ravel()[: len(size)] - size
    # A code of 15 bits touches three bytes; no two codes share a bit, so that sums are unions.
    words = code.astype(np.int64) << (24 - size.astype(np.int64) - starts % 8)
    total = int(sizes.sum())
    packed = np.zeros(total + 2)
    for byte in range(3):
        packed += np.bincount(starts // 8 + byte, words >> (16 - 8 * byte) & 255, minlength=total + 2)
    return sizes, packed[:total].astype(np.uint8)


def _unpack(data: Bytes, ends: Integers, size: Bytes, *, start: int, count: int) -> Symbols:
    table = _table(size)
    # Where codes are damaged a block may run over its end, by no more than all that a block can hold.
    padded = np.append(data, np.zeros(BLOCK * LENGTH_MAX // 8 + 3, np.uint8)).astype(np.int32)
    words = padded[:-2] << 16 | padded[1:-1] << 8 | padded[2:]
    positions = 8 * np.append(start, ends)[:-1]
    found = np.zeros((min(BLOCK, count), len(ends)), np.uint16)
    last = count - BLOCK * (len(ends) - 1)  # symbols in the last block
    for step, row in enumerate(found):
        running = positions if step < last else positions[:-1]
        row[: len(running)] = table[words[running >> 3] >> (9 - (running & 7)) & 0x7FFF]
        running += row[: len(running)] & 15
    entries = found.T.ravel()[:count]
    if not (entries & 15).all() or not np.array_equal((positions + 7) // 8, ends):
        raise InvalidInputError("the codes do not fill their blocks; the file is damaged")
    return entries >> np.uint16(4)


def _table(size: Bytes) -> Symbols:
    """For each window of 15 bits the symbol, times 16, and the length of the code that it begins with; or 0."""
    left = LENGTH_MAX - size.astype(np.int64)
    used = np.flatnonzero(size)
    order = used[np.argsort(codes(size)[used] << left[used], kind="stable")]
    entries = np.repeat(order << 4 | size[order], 1 << left[order])
    table = np.zeros(1 << LENGTH_MAX, np.uint16)
    table[: len(entries)] = entries
    return table
