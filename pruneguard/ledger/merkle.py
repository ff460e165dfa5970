"""The tree over the log: RFC 6962 hashing, and proofs that an entry is in it and that it only grew.

A node is named by its level (0 = leaves) and its index on that level. Only nodes of perfect subtrees are named, and
those never change; the ragged right edge is hashed anew when it is needed.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

ReadNode: TypeAlias = Callable[[int, int], bytes]
"""(level, index) -> the hash of that perfect subtree."""

ReadRow: TypeAlias = Callable[[int, int, int], Sequence[bytes]]
"""(level, start, end) -> the hashes start..end-1 of a stored level."""

Node: TypeAlias = tuple[int, int, bytes]
"""Level, index and hash of a perfect subtree."""

TILE_HEIGHT = 8
"""Every eighth level is stored, as C2SP tlog-tiles serves them; what lies between is hashed anew when it is needed."""

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def parents(row: Sequence[bytes]) -> list[bytes]:
    """The hashes of the nodes above, pair by pair; an odd one at the end waits for its sibling."""
    return list(map(node_hash, row[::2], row[1::2]))


@dataclass(frozen=True, slots=True)
class Frontier:
    """All that must be kept of a tree to let it grow: the roots of its perfect subtrees, largest first.

    >>> Frontier().grown([leaf_hash(b"first")])[0].root() == leaf_hash(b"first")
    True
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    @classmethod
    def read(cls, size: int, node: ReadNode) -> "Frontier":
        """The frontier of the first `size` leaves, out of stored nodes."""
        return cls(size, tuple(node(level, index) for level, index in perfect_subtrees(0, size)))

    def grown(self, leaves: Sequence[bytes]) -> tuple["Frontier", list[Node]]:
        """The frontier with more leaves, and the nodes on stored levels above them that became known by it."""
        waiting, row, kept, known = list(self.hashes), list(leaves), list[bytes](), list[Node]()
        level, index = 0, self.size
        while row or index:
            if index & 1:
                row.insert(0, waiting.pop())
            if len(row) & 1:
                kept.append(row.pop())
            row, level, index = parents(row), level + 1, index >> 1
            if level % TILE_HEIGHT == 0:
                known += [(level, index + offset, value) for offset, value in enumerate(row)]
        return Frontier(self.size + len(leaves), tuple(reversed(kept))), known

    def root(self) -> bytes:
        """The tree's root hash."""
        return _joined(self.hashes) if self.hashes else EMPTY_ROOT


def between(stored: ReadRow) -> ReadNode:
    """Any node, out of the rows of stored levels."""

    def node(level: int, index: int) -> bytes:
        height = level % TILE_HEIGHT
        row = stored(level - height, index << height, index + 1 << height)
        while len(row) > 1:
            row = parents(row)
        return row[0]

    return node


def perfect_subtrees(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Names (level, index) of the perfect subtrees that make up leaves start..end-1, left to right.

    `start` is where a subtree of that many leaves may begin: 0, or a right half of a split.

    >>> list(perfect_subtrees(0, 7))
    [(2, 0), (1, 2), (0, 6)]
    """
    while start < end:
        level = (end - start).bit_length() - 1
        yield level, start >> level
        start += 1 << level


def inclusion(index: int, size: int, node: ReadNode) -> list[bytes]:
    """Proof that leaf `index` is in the tree of `size` leaves, sibling by sibling from the leaf up."""
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} in a tree of {size}")
    path = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_root(middle, end, node))
            end = middle
        else:
            path.append(_range_root(start, middle, node))
            start = middle
    return path[::-1]


def consistency(old: int, new: int, node: ReadNode) -> list[bytes]:
    """Proof that the tree of `new` leaves begins with the tree of `old` leaves (RFC 6962, 2.1.2)."""
    if not 0 < old <= new:
        raise ValueError(f"no consistency proof from size {old} to {new}")
    path = []
    start, end, whole = 0, new, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_range_root(middle, end, node))
            end = middle
        else:
            path.append(_range_root(start, middle, node))
            start, whole = middle, False
    if not whole:
        path.append(_range_root(start, end, node))
    return path[::-1]


def verify_inclusion(*, index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` shows that the leaf hash `leaf` stands at `index` of the tree of `size` leaves.

    RFC 9162, 2.1.3.2.
    """
    if not 0 <= index < size or not _are_hashes((leaf, *proof)):
        return False
    fn, sn, current = index, size - 1, leaf
    for sibling in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            current = node_hash(sibling, current)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            current = node_hash(current, sibling)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and current == root


def verify_consistency(*, old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the tree `new` begins with the tree `old` (RFC 9162, 2.1.4.2).

    That a tree begins with an empty one says nothing, and is not accepted as proven.
    """
    if not 0 < old <= new or not _are_hashes(proof):
        return False
    if old == new:
        return not proof and old_root == new_root
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        return False
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            second = node_hash(second, sibling)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and first == old_root and second == new_root


def _split(width: int) -> int:
    """The largest power of two below `width`."""
    return 1 << (width - 1).bit_length() - 1


def _range_root(start: int, end: int, node: ReadNode) -> bytes:
    return _joined([node(level, index) for level, index in perfect_subtrees(start, end)])


def _joined(hashes: Sequence[bytes]) -> bytes:
    *rest, current = hashes
    for left in reversed(rest):
        current = node_hash(left, current)
    return current


def _are_hashes(values: Sequence[bytes]) -> bool:
    return all(len(value) == 32 for value in values)
