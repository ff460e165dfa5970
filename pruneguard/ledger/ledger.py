"""The ledger: an append-only log whose fold is the state of the service."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pruneguard.errors import InvalidInputError
from pruneguard.ledger import merkle, notes, rules, tiles
from pruneguard.ledger.events import Entry, Event
from pruneguard.ledger.keys import LogKey, Signer
from pruneguard.ledger.postgresql import PostgresqlStore
from pruneguard.ledger.recorder import Recorded, Recorder
from pruneguard.ledger.sqlite import SqliteStore
from pruneguard.ledger.sqlstore import SqlStore
from pruneguard.ledger.state import State
from pruneguard.ledger.store import Store
from pruneguard.ledger.stored import Replica, StoredLog

__all__ = ["Ledger", "Recorded", "opening"]

_DATABASES: Mapping[str, type[SqlStore]] = MappingProxyType({"sqlite": SqliteStore, "postgresql": PostgresqlStore})


def opening(key: LogKey, **made: Any) -> tuple[bytes, bytes]:
    """What a new ledger begins with: its first entry, `ledger.opened`, and the checkpoint over it.

    `made` may say the event's `id` and `time`, where they are not to be new.
    """
    entry = Event("ledger.opened", rules.MONITOR, {"origin": key.name}, causation="ledger.opened", **made).encode()
    return entry, notes.Checkpoint(key.name, 1, merkle.leaf_hash(entry)).sign(key.key)


class Ledger:
    """One thread's hold on a ledger; `reopen` gives another thread its own.

    All holds on a store write through one recorder, which makes what many threads append durable together. Raises
    IntegrityError, naming file and entry, as soon as stored bytes and signed checkpoint disagree.
    """

    def __init__(self, store: Store, *, key: LogKey | None = None) -> None:
        self.store = store
        self.verifier = notes.Verifier.parse(store.vkey)
        if key is not None and key.verifier != self.verifier:
            raise InvalidInputError(
                f"this key is {key.verifier.vkey}; the ledger {store.place} belongs to {store.vkey}"
            )
        self._log = StoredLog(store, self.verifier)
        self._replica = Replica(self._log)
        self._recorder = None if key is None else Recorder(self._log, key)

    @classmethod
    def create(cls, url: str, *, origin: str, key: LogKey) -> "Ledger":
        """A new ledger whose first entry is `ledger.opened`. Raises InvalidInputError when one is there already."""
        if key.name != origin:
            raise InvalidInputError(f"the key is named {key.name!r}; a ledger's key is named as its origin, {origin!r}")
        return cls(_database(url).create(url, key.verifier.vkey, *opening(key)), key=key)

    @classmethod
    def open(cls, url: str, *, key: LogKey | None = None, verify: bool = False) -> "Ledger":
        """The ledger at `url`, to read only without its key.

        Checks the newest checkpoint against the stored tree; with `verify`, every byte and every checkpoint.
        """
        store = _database(url).open(url, writable=key is not None)
        try:
            ledger = cls(store, key=key)
            ledger.check()
            if verify:
                ledger.verify()
        except BaseException:
            store.close()
            raise
        return ledger

    @classmethod
    def create_or_open(cls, url: str, *, origin: str, key: LogKey) -> "Ledger":
        """The ledger at `url`, made first where there is none."""
        return cls.open(url, key=key) if _database(url).exists(url) else cls.create(url, origin=origin, key=key)

    def reopen(self) -> "Ledger":
        """Another hold on the same store, for another thread."""
        other = Ledger(self.store)
        other._recorder = self._recorder
        return other

    def close(self) -> None:
        self.store.close()

    # -- writing --

    def record(self, event: Event, *, signer: Signer | None = None) -> Recorded:
        """Append `event`, signed by the person whose act it is, and return when a durable signed checkpoint covers it.

        An event whose causation has happened already is not recorded again: the first one is returned. Raises
        InvalidInputError with every objection; then nothing is recorded.
        """
        return self.record_all([event], signer=signer)[0]

    def record_all(self, events: Sequence[Event], *, signer: Signer | None = None) -> list[Recorded]:
        """As `record`, for many under one checkpoint: all of them or none."""
        if self._recorder is None:
            raise InvalidInputError(f"{self.store.place} was opened without the ledger's key, to read only")
        return self._recorder.record_all(events, signer)

    # -- reading --

    @property
    def origin(self) -> str:
        return self.verifier.name

    @property
    def size(self) -> int:
        """Entries that the newest checkpoint covers."""
        with self.store.reading() as reader:
            return self._log.checkpoint(reader).size

    def wait_for_growth(self, size: int, timeout_s: float) -> bool:
        """Wait until the log holds more than `size` entries; False when that took longer than `timeout_s`."""
        return self.store.wait_for_growth(size, timeout_s)

    @property
    def checkpoint(self) -> bytes:
        """The newest checkpoint, as a signed note."""
        with self.store.reading() as reader:
            self._log.checkpoint(reader)
            return reader.checkpoint()

    def state(self) -> State:
        """The fold of every entry up to now. Read it, never change it; it grows with the next call."""
        with self.store.reading() as reader:
            self._replica.catch_up(reader)
        return self._replica.state

    def raw(self, start: int, end: int) -> list[bytes]:
        """What there is of entries start..end-1, hashed again; b"" for a body that retention dropped.

        Raises IntegrityError for bytes that do not have the hash in the tree.
        """
        with self.store.reading() as reader:
            end = min(end, self._log.checkpoint(reader).size)
            return self._log.leaves(reader, start, end)[1] if start < end else []

    def entry(self, index: int) -> Entry:
        """Raises InvalidInputError when the log has no such entry, or retention dropped its body."""
        found = self.raw(index, index + 1) if index >= 0 else []
        if not found:
            raise InvalidInputError(f"the log has no entry {index}; it holds {self.size}")
        if not found[0]:
            raise InvalidInputError(f"retention dropped the body of entry {index}; its hash is all that is left")
        return Entry.decode(found[0])

    def proof(self, index: int) -> bytes:
        """A `.tlog-proof` file: that entry `index` stands in the log, with the newest checkpoint."""
        with self.store.reading() as reader:
            checkpoint = self._log.checkpoint(reader)
            if not 0 <= index < checkpoint.size:
                raise InvalidInputError(f"the log has no entry {index}; it holds {checkpoint.size}")
            hashes = merkle.inclusion(index, checkpoint.size, self._log.node(reader))
            return tiles.Proof(index, tuple(hashes), reader.checkpoint()).encode()

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Proof that the log of `new` entries begins with the log of `old` entries."""
        with self.store.reading() as reader:
            if not 0 < old <= new <= (size := self._log.checkpoint(reader).size):
                raise InvalidInputError(f"no consistency proof from {old} to {new}; the log holds {size} entries")
            return merkle.consistency(old, new, self._log.node(reader))

    # -- checking --

    def check(self) -> None:
        """Derive the newest checkpoint's root from the stored tree, and count the entries under it."""
        with self.store.reading() as reader:
            self._log.check(reader)

    def verify(self) -> None:
        """Hash every entry again, and compare every node and every signed checkpoint with what comes out."""
        with self.store.reading() as reader:
            if missing := self._log.verify(reader):
                self._replica.catch_up(reader)
                self._replica.require_dropped(missing)


def _database(url: str) -> type[SqlStore]:
    """What keeps the ledger at `url`."""
    name, colon, _ = url.partition(":")
    kind = _DATABASES.get(name.partition("+")[0])
    if kind is None or not colon:
        raise InvalidInputError(
            f"the ledger's URL begins with {name!r}; expected sqlite:///path or postgresql://host/database"
        )
    return kind
