"""Where a ledger's bytes lie, and what the ledger asks of it. Entries, tree and checkpoints are written once.

`sqlite.SqliteStore` and `postgresql.PostgresqlStore` keep them in a database, `pruneguard.testing.MemoryStore` in
memory.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from pruneguard.ledger.merkle import Node


class Reader(Protocol):
    """One consistent view of a ledger's bytes."""

    def checkpoint(self) -> bytes:
        """The newest one."""

    def checkpoints(self) -> Iterator[tuple[int, bytes]]:
        """All (size, signed note), by size."""

    def count(self) -> int:
        """One more than the index of the newest entry stored."""

    def entries(self, start: int, end: int) -> Iterator[tuple[int, bytes, bytes]]:
        """Index, leaf hash and body of what is stored of start..end-1, in order; b"" for a body that was dropped."""

    def nodes(self, level: int, start: int, end: int) -> list[bytes]:
        """Stored hashes start..end-1 of a level of the tree, one of every eighth; fewer where some are missing."""


class Writer(Reader, Protocol):
    """A view that no other writer can change, and the one append that it may end in."""

    def append(
        self, entries: Sequence[bytes], *, leaves: Sequence[bytes], nodes: Sequence[Node], size: int, checkpoint: bytes
    ) -> None:
        """Add entries with their leaf hashes, the nodes they complete, and the checkpoint of the `size` they lead to.

        All or nothing, with the context that gave this writer.
        """


class Store(Protocol):
    @property
    def place(self) -> str:
        """The file or address, for messages; it holds no password."""

    @property
    def vkey(self) -> str:
        """The C2SP verifier key that the ledger was created with."""

    def reading(self) -> AbstractContextManager[Reader]: ...

    def writing(self) -> AbstractContextManager[Writer]:
        """Waits for other writers. What was appended is durable when the context ends without an error."""

    def wait_for_growth(self, size: int, timeout_s: float) -> bool:
        """Wait until there are more than `size` entries; False when that took longer than `timeout_s`.

        It may be early, never late by more than a look at the store takes: whoever asks reads what there is then.
        """

    def drop_bodies(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Forget the bodies of entries start..end-1 for good, and keep their leaf hashes: every proof stays.

        The one way around "a ledger only grows". Readers call a body missing unless a `retention.applied` in the log
        covers it, so that event comes first. May be called again after an interruption.
        """

    def close(self) -> None: ...
