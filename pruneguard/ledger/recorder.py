"""How events enter a log: drafted by any thread, admitted and appended by one at a time.

An append takes five steps, under the store's write lock, for every thread that waits for one:
  1. catch up with what others appended, checking it against their signed checkpoint;
  2. ask the rules of each event whether it may take effect now;
  3. add the entries and the tree nodes they complete;
  4. sign the checkpoint of the new size;
  5. commit. Only then are the appends acknowledged.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pruneguard import canonical
from pruneguard.errors import InvalidInputError
from pruneguard.ledger import fold, merkle, notes, tiles
from pruneguard.ledger.events import Entry, Event
from pruneguard.ledger.group import Group, Take, Turn
from pruneguard.ledger.keys import LogKey, Signer
from pruneguard.ledger.store import Reader
from pruneguard.ledger.stored import Replica, StoredLog


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event and its place in the log."""

    index: int
    event: Event


@dataclass(frozen=True, slots=True)
class Draft:
    """An event as it will be recorded: the bytes that are hashed, and the entry that a reader will see in them."""

    event: Event
    raw: bytes
    leaf: bytes
    entry: Entry


class Recorder:
    """The writer of a log in this process; any number of threads may call it at once."""

    def __init__(self, log: StoredLog, key: LogKey) -> None:
        self._log, self._key = log, key
        self._replica = Replica(log)
        self._group = Group(self._commit)
        self._id = ""

    def record_all(self, events: Sequence[Event], signer: Signer | None) -> list[Recorded]:
        """Append events, all or none, and return when a durable signed checkpoint covers them."""
        return self._group.submit([self._draft(event, signer) for event in events])

    def _draft(self, event: Event, signer: Signer | None) -> Draft:
        """What a person signs is for this ledger and no other."""
        if signer is None:
            raw = event.encode()
            return Draft(event, raw, merkle.leaf_hash(raw), _as_read(raw))
        event = replace(event, ledger=self._ledger_id())
        raw = signer.sign(event).encode()
        if len(raw) > tiles.ENTRY_BYTES_MAX:
            raise InvalidInputError(
                f"this entry has {len(raw)} bytes, the log holds {tiles.ENTRY_BYTES_MAX}; store it apart"
            )
        return Draft(event, raw, merkle.leaf_hash(raw), Entry.decode(raw))

    def _ledger_id(self) -> str:
        if not self._id:
            with self._log.store.reading() as reader:
                _, (first,) = self._log.leaves(reader, 0, 1)
            self._id = Entry.decode(first).event.id
        return self._id

    def _commit(self, take: Take[list[Draft], list[Recorded]]) -> None:
        replica, appended = self._replica, list[Draft]()
        try:
            with self._log.store.writing() as writer:
                replica.catch_up(writer)
                for turn in take():
                    self._answer(writer, turn, appended)
                if appended:
                    frontier, nodes = replica.frontier.grown([draft.leaf for draft in appended])
                    note = notes.Checkpoint(self._log.verifier.name, frontier.size, frontier.root()).sign(self._key.key)
                    writer.append(
                        [draft.raw for draft in appended],
                        leaves=[draft.leaf for draft in appended],
                        nodes=nodes,
                        size=frontier.size,
                        checkpoint=note,
                    )
            if appended:
                replica.settle(frontier, note)
        except BaseException:
            if replica.state.size != replica.frontier.size:  # it is ahead of what is stored, as far as we know
                replica.forget()
            raise

    def _answer(self, reader: Reader, turn: Turn[list[Draft], list[Recorded]], appended: list[Draft]) -> None:
        """Let all of one request take effect, or none of it; a refusal is that thread's alone."""
        before, size = len(appended), self._replica.state.size
        try:
            turn.answer = [self._recorded(reader, draft, appended) for draft in turn.ask]
        except InvalidInputError as refusal:
            turn.error = refusal
            del appended[before:]
            if self._replica.state.size != size:
                self._take_back(reader, appended)

    def _recorded(self, reader: Reader, draft: Draft, appended: list[Draft]) -> Recorded:
        state, event = self._replica.state, draft.event
        if event.causation is not None and (index := state.causations.get(event.causation)) is not None:
            return self._existing(reader, index, event, appended)
        index = state.size
        try:
            why = fold.admit(state, draft.entry)
        except Exception as error:  # whatever a rule stumbles over is this event's fault, and must fail no other
            self._replica.forget()
            raise InvalidInputError(f"{event.type}: {type(error).__name__} {error}; mend the event") from error
        if why:
            raise InvalidInputError("; ".join(why))
        appended.append(draft)
        return Recorded(index, event)

    def _existing(self, reader: Reader, index: int, event: Event, appended: Sequence[Draft]) -> Recorded:
        stored = self._replica.frontier.size
        if index >= stored:
            found = appended[index - stored].event
        else:
            _, (raw,) = self._log.leaves(reader, index, index + 1)
            if not raw:
                raise InvalidInputError(f"{event.causation!r} has happened, at {index}; retention dropped what it was")
            found = Entry.decode(raw).event
        if (found.type, found.actor) != (event.type, event.actor):
            raise InvalidInputError(
                f"{event.causation!r} was {found.type} by {found.actor!r}, at {index}; "
                f"it cannot be {event.type} by {event.actor!r}"
            )
        return Recorded(index, found)

    def _take_back(self, reader: Reader, appended: Sequence[Draft]) -> None:
        """Build the state anew without the part of a request that took effect before the rest was refused."""
        self._replica.forget()
        self._replica.catch_up(reader)
        for draft in appended:
            fold.admit(self._replica.state, draft.entry)


def _as_read(raw: bytes) -> Entry:
    """What a reader will see in an event's bytes; that they are in order, `Event.encode` has just made sure of."""
    document = canonical.decode_own(raw)
    del document["v"]
    return Entry(Event(**document), None)
