"""The ledger: an append-only log whose fold is the state of the service.

An append takes five steps, under the store's write lock:
  1. catch up with what others appended, checking it against their signed checkpoint;
  2. ask the rules whether each event may take effect now;
  3. add the entries and the tree nodes they complete;
  4. sign the checkpoint of the new size;
  5. commit. Only then is the append acknowledged.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pruneguard.errors import IntegrityError, InvalidInputError
from pruneguard.ledger import fold, merkle, notes, rules, tiles
from pruneguard.ledger.events import Entry, Event
from pruneguard.ledger.keys import LogKey, Signer
from pruneguard.ledger.state import State
from pruneguard.ledger.store import Node, Reader, SqlStore, Store, Writer

_READ_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event and its place in the log."""

    index: int
    event: Event


def opening(key: LogKey) -> tuple[bytes, bytes]:
    """What a new ledger begins with: its first entry, `ledger.opened`, and the checkpoint over it."""
    entry = Event("ledger.opened", rules.MONITOR, {"origin": key.name}, causation="ledger.opened").encode()
    return entry, notes.Checkpoint(key.name, 1, merkle.leaf_hash(entry)).sign(key.key)


class Ledger:
    """One thread's hold on a ledger; `reopen` gives another thread its own.

    Raises IntegrityError, naming file and entry, as soon as stored bytes and signed checkpoint disagree.
    """

    def __init__(self, store: Store, *, key: LogKey | None = None) -> None:
        self.store = store
        self.verifier = notes.Verifier.parse(store.vkey)
        if key is not None and key.verifier != self.verifier:
            raise InvalidInputError(
                f"this key is {key.verifier.vkey}; the ledger {store.place} belongs to {store.vkey}"
            )
        self._key = key
        self._state, self._frontier = State(), merkle.Frontier()

    @classmethod
    def create(cls, url: str, *, origin: str, key: LogKey) -> "Ledger":
        """A new ledger whose first entry is `ledger.opened`. Raises InvalidInputError when one is there already."""
        if key.name != origin:
            raise InvalidInputError(f"the key is named {key.name!r}; a ledger's key is named as its origin, {origin!r}")
        return cls(SqlStore.create(url, key.verifier.vkey, *opening(key)), key=key)

    @classmethod
    def open(cls, url: str, *, key: LogKey | None = None, verify: bool = False) -> "Ledger":
        """The ledger at `url`, to read only without its key.

        Checks the newest checkpoint against the stored tree; with `verify`, every byte and every checkpoint.
        """
        store = SqlStore.open(url, writable=key is not None)
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
        return cls.open(url, key=key) if SqlStore.exists(url) else cls.create(url, origin=origin, key=key)

    def reopen(self) -> "Ledger":
        """Another hold on the same store, for another thread."""
        return Ledger(self.store, key=self._key)

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
        """As `record`, for many in one transaction and one checkpoint: all of them or none."""
        if self._key is None:
            raise InvalidInputError(f"{self.store.place} was opened without the ledger's key, to read only")
        recorded, fresh = [], list[bytes]()
        try:
            with self.store.writing() as writer:
                self._catch_up(writer)
                for event in events:
                    if (index := self._happened(event)) is not None:
                        recorded.append(self._existing(writer, index, event, fresh))
                        continue
                    made, raw = self._made(event, signer)
                    self._admit(raw)
                    recorded.append(Recorded(self._frontier.size + len(fresh), made))
                    fresh.append(raw)
                frontier = self._append(writer, fresh) if fresh else self._frontier
            self._frontier = frontier
        except BaseException:
            # A fold that is ahead of what was committed is built anew when it is next asked for.
            if self._state.size != self._frontier.size:
                self._forget()
            raise
        return recorded

    # -- reading --

    @property
    def origin(self) -> str:
        return self.verifier.name

    @property
    def size(self) -> int:
        """Entries that the newest checkpoint covers."""
        with self.store.reading() as reader:
            return self._checkpoint(reader).size

    @property
    def checkpoint(self) -> bytes:
        """The newest checkpoint, as a signed note."""
        with self.store.reading() as reader:
            self._checkpoint(reader)
            return reader.checkpoint()

    def state(self) -> State:
        """The fold of every entry up to now. Read it, never change it; it grows with the next call."""
        with self.store.reading() as reader:
            self._catch_up(reader)
        return self._state

    def raw(self, start: int, end: int) -> list[bytes]:
        """Entries start..end-1 as they are hashed."""
        with self.store.reading() as reader:
            return reader.entries(start, end)

    def entry(self, index: int) -> Entry:
        """Raises InvalidInputError when the log has no such entry."""
        found = self.raw(index, index + 1) if index >= 0 else []
        if not found:
            raise InvalidInputError(f"the log has no entry {index}; it holds {self.size}")
        return Entry.decode(found[0])

    def proof(self, index: int) -> bytes:
        """A `.tlog-proof` file: that entry `index` stands in the log, with the newest checkpoint."""
        with self.store.reading() as reader:
            checkpoint = self._checkpoint(reader)
            if not 0 <= index < checkpoint.size:
                raise InvalidInputError(f"the log has no entry {index}; it holds {checkpoint.size}")
            hashes = merkle.inclusion(index, checkpoint.size, self._node_reader(reader))
            return tiles.Proof(index, tuple(hashes), reader.checkpoint()).encode()

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Proof that the log of `new` entries begins with the log of `old` entries."""
        with self.store.reading() as reader:
            if not 0 < old <= new <= (size := self._checkpoint(reader).size):
                raise InvalidInputError(f"no consistency proof from {old} to {new}; the log holds {size} entries")
            return merkle.consistency(old, new, self._node_reader(reader))

    # -- checking --

    def check(self) -> None:
        """Derive the newest checkpoint's root from the stored tree, and count the entries under it."""
        with self.store.reading() as reader:
            checkpoint = self._checkpoint(reader)
            if (count := reader.count()) != checkpoint.size:
                raise self._broken(f"holds {count} entries, its checkpoint covers {checkpoint.size}")
            if merkle.Frontier.read(checkpoint.size, self._node_reader(reader)).root() != checkpoint.root:
                raise self._broken("has a stored tree that does not lead to its signed root")

    def verify(self) -> None:
        """Hash every entry again, and compare every node and every signed checkpoint with what comes out."""
        with self.store.reading() as reader:
            newest = self._checkpoint(reader).size
            frontier, behind = merkle.Frontier(), 0
            for size, note in reader.checkpoints():
                frontier = self._hashed(reader, frontier, size)
                if self._opened(note) != notes.Checkpoint(self.origin, size, frontier.root()):
                    raise self._broken(f"was changed in entry {behind} to {size - 1}: their signed root differs")
                behind = size
            if reader.count() != newest:
                raise self._broken(f"holds {reader.count()} entries, its checkpoint covers {newest}")
            self._verify_nodes(reader, newest)

    # -- inside --

    def _forget(self) -> None:
        self._state, self._frontier = State(), merkle.Frontier()

    def _happened(self, event: Event) -> int | None:
        return None if event.causation is None else self._state.causations.get(event.causation)

    def _made(self, event: Event, signer: Signer | None) -> tuple[Event, bytes]:
        """The event as it is recorded, and the entry's bytes; what a person signs is for this ledger and no other."""
        if signer is None:
            return event, event.encode()
        meant = replace(event, ledger=self._state.id)
        return meant, signer.sign(meant).encode()

    def _admit(self, raw: bytes) -> None:
        """Fold an entry that is about to be appended, or raise with every reason why it may not be."""
        if len(raw) > tiles.ENTRY_BYTES_MAX:
            raise InvalidInputError(
                f"this entry has {len(raw)} bytes, the log holds {tiles.ENTRY_BYTES_MAX}; store it apart"
            )
        if why := fold.admit(self._state, Entry.decode(raw)):
            raise InvalidInputError("; ".join(why))

    def _existing(self, reader: Reader, index: int, event: Event, fresh: Sequence[bytes]) -> Recorded:
        stored = self._frontier.size
        raw = reader.entries(index, index + 1)[0] if index < stored else fresh[index - stored]
        found = Entry.decode(raw).event
        if (found.type, found.actor) != (event.type, event.actor):
            raise InvalidInputError(
                f"{event.causation!r} was {found.type} by {found.actor!r}, at {index}; "
                f"it cannot be {event.type} by {event.actor!r}"
            )
        return Recorded(index, found)

    def _append(self, writer: Writer, entries: Sequence[bytes]) -> merkle.Frontier:
        assert self._key is not None  # callers that write have asked for it
        frontier, nodes = self._frontier, list[Node]()
        for raw in entries:
            frontier, known = frontier.grown(merkle.leaf_hash(raw))
            nodes += known
        checkpoint = notes.Checkpoint(self.origin, frontier.size, frontier.root()).sign(self._key.key)
        writer.append(entries, nodes, size=frontier.size, checkpoint=checkpoint)
        return frontier

    def _catch_up(self, reader: Reader) -> None:
        checkpoint = self._checkpoint(reader)
        if checkpoint.size < self._frontier.size:
            raise self._broken(f"went back from {self._frontier.size} entries to {checkpoint.size}")
        try:
            while self._frontier.size < checkpoint.size:
                start, end = self._frontier.size, min(self._frontier.size + _READ_ROWS, checkpoint.size)
                entries = reader.entries(start, end)
                self._frontier = self._hashed(reader, self._frontier, end, entries)
                for index, raw in enumerate(entries, start):
                    fold.apply(self._state, index, Entry.decode(raw))
            if self._frontier.root() != checkpoint.root:
                raise self._broken("holds entries that do not lead to its signed root")
        except BaseException:
            self._forget()
            raise

    def _hashed(
        self, reader: Reader, frontier: merkle.Frontier, end: int, entries: Sequence[bytes] = ()
    ) -> merkle.Frontier:
        """The frontier grown to `end` by hashing entries and comparing each with its stored leaf."""
        start = frontier.size
        leaves = reader.nodes(0, start, end)
        for index, raw in enumerate(entries or reader.entries(start, end), start):
            leaf = merkle.leaf_hash(raw)
            if index - start >= len(leaves) or leaves[index - start] != leaf:
                raise self._broken(f"was changed in entry {index}: its bytes do not have the hash in the tree")
            frontier, _ = frontier.grown(leaf)
        if frontier.size != end:
            raise self._broken(f"lacks entry {frontier.size}")
        return frontier

    def _verify_nodes(self, reader: Reader, size: int) -> None:
        """Each stored node must be the hash of the two below it; the leaves were compared with the entries."""
        for level in range(1, size.bit_length()):
            for start in range(0, size >> level, _READ_ROWS):
                end = min(start + _READ_ROWS, size >> level)
                below, stored = reader.nodes(level - 1, 2 * start, 2 * end), reader.nodes(level, start, end)
                expected = [merkle.node_hash(*pair) for pair in zip(below[::2], below[1::2], strict=False)]
                if stored != expected:
                    raise self._broken(
                        f"has a tree node of level {level}, {start} to {end - 1}, that is not its children's hash"
                    )

    def _checkpoint(self, reader: Reader) -> notes.Checkpoint:
        return self._opened(reader.checkpoint())

    def _opened(self, note: bytes) -> notes.Checkpoint:
        try:
            return notes.open_checkpoint(note, self.verifier)
        except (InvalidInputError, IntegrityError) as error:
            raise self._broken(f"has a checkpoint that its log key did not sign ({error})") from error

    def _node_reader(self, reader: Reader) -> merkle.ReadNode:
        def read(level: int, index: int) -> bytes:
            found = reader.nodes(level, index, index + 1)
            if not found:
                raise self._broken(f"lacks the tree node {level}/{index}")
            return found[0]

        return read

    def _broken(self, what: str) -> IntegrityError:
        return IntegrityError(f"the ledger {self.store.place} {what}. Do not go on with it: restore a backup")
