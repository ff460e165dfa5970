"""A log as it is read: its entries by position, and the hash tree over them, both for logs of millions of entries."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import overload

from pruneguard.ledger import merkle, tiles
from pruneguard.ledger.events import Entry
from pruneguard.reporting import Progress, Quiet, listener

HASH_BYTES = 32
_BLOCKS_KEPT, _ENTRIES_KEPT = 4, 512  # an entry may have 64 KB, a block 16 MB
_REPORTED_FROM = 50_000

ReadBlock = Callable[[int], Sequence[bytes]]
"""Number of a block of 256 entries -> their bytes, empty where the body was dropped."""


def progress(label: str, size: int) -> Progress:
    """A bar for work on so many entries, where there are enough of them that somebody would wait."""
    return (listener.get() if size >= _REPORTED_FROM else Quiet()).progress(label)


class Tree:
    """Every perfect subtree over some leaf hashes: 64 bytes an entry."""

    def __init__(self, leaves: bytes | bytearray) -> None:
        self._rows = [leaves]
        while len(row := self._rows[-1]) > HASH_BYTES:
            self._rows.append(_parents(row))

    def node(self, level: int, index: int) -> bytes:
        return bytes(self.row(level, index, index + 1))

    def row(self, level: int, start: int, end: int) -> bytes | bytearray:
        """Hashes start..end-1 of a level, one after the other."""
        return self._rows[level][HASH_BYTES * start : HASH_BYTES * end]

    def tile(self, tile: tiles.Tile) -> bytes:
        """The content of a hash tile."""
        assert tile.level is not None
        return bytes(self.row(merkle.TILE_HEIGHT * tile.level, tile.start, tile.start + tile.width))

    def root(self, size: int) -> bytes:
        """The root over the first `size` leaves."""
        return merkle.Frontier.read(size, self.node).root()


def _parents(row: bytes | bytearray) -> bytearray:
    found, sha256, width = bytearray(), hashlib.sha256, 2 * HASH_BYTES
    for start in range(0, len(row) - len(row) % width, 4_096 * width):
        part = bytes(row[start : start + 4_096 * width])
        pairs = range(0, len(part) - len(part) % width, width)
        found += b"".join([sha256(b"\x01" + part[at : at + width]).digest() for at in pairs])
    return found


class Log(Sequence["Entry | None"]):
    """The entries of a log by position, read when asked for; None where the body was dropped."""

    def __init__(self, size: int, read: ReadBlock) -> None:
        self._size = size
        self.block = lru_cache(_BLOCKS_KEPT)(read)
        self._entry = lru_cache(_ENTRIES_KEPT)(self._decoded)

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int, /) -> Entry | None: ...
    @overload
    def __getitem__(self, index: slice, /) -> "list[Entry | None]": ...
    def __getitem__(self, index: int | slice, /) -> "Entry | list[Entry | None] | None":
        if isinstance(index, slice):
            return [self._entry(at) for at in range(*index.indices(self._size))]
        if not -self._size <= index < self._size:
            raise IndexError(f"the log has no entry {index}; it holds {self._size}")
        return self._entry(index % self._size)

    def blocks(self, label: str) -> Iterator[tuple[int, Sequence[bytes]]]:
        """Position of the first entry and bytes of all, block by block, telling whoever listens how far it is."""
        bar = progress(label, self._size)
        for start in range(0, self._size, tiles.WIDTH):
            yield start, self.block(start // tiles.WIDTH)
            bar(min(start + tiles.WIDTH, self._size), self._size)

    def _decoded(self, index: int) -> Entry | None:
        number, offset = divmod(index, tiles.WIDTH)
        raw = self.block(number)[offset]
        return Entry.decode(raw) if raw else None
