"""A log as it is stored, which nobody has to believe: what is read is checked against what the log's key signed."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

from pruneguard.errors import IntegrityError, InvalidInputError
from pruneguard.ledger import fold, merkle, notes
from pruneguard.ledger.events import Entry
from pruneguard.ledger.state import State
from pruneguard.ledger.store import Reader, Store

_READ_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class StoredLog:
    """A store, and the key that its checkpoints must be signed with."""

    store: Store
    verifier: notes.Verifier

    def checkpoint(self, reader: Reader) -> notes.Checkpoint:
        return self.opened(reader.checkpoint())

    def opened(self, note: bytes) -> notes.Checkpoint:
        try:
            return notes.open_checkpoint(note, self.verifier)
        except (InvalidInputError, IntegrityError) as error:
            raise self.broken(f"has a checkpoint that its log key did not sign ({error})") from error

    def leaves(self, reader: Reader, start: int, end: int) -> tuple[list[bytes], list[bytes]]:
        """Leaf hashes and bodies of entries start..end-1, each body hashed; b"" for a body that was dropped."""
        leaves, bodies = list[bytes](), list[bytes]()
        for expected, (index, leaf, body) in zip(range(start, end), reader.entries(start, end), strict=False):
            if index != expected:
                break
            if body and merkle.leaf_hash(body) != leaf:
                raise self.broken(f"was changed in entry {index}: its bytes do not have the hash in the tree")
            leaves.append(leaf)
            bodies.append(body)
        if start + len(leaves) != end:
            raise self.broken(f"lacks entry {start + len(leaves)}")
        return leaves, bodies

    def node(self, reader: Reader) -> merkle.ReadNode:
        """The tree out of what is stored of it."""

        def stored(level: int, start: int, end: int) -> Sequence[bytes]:
            if len(row := reader.nodes(level, start, end)) != end - start:
                raise self.broken(f"lacks some of the tree nodes {start} to {end - 1} of level {level}")
            return row

        return merkle.between(stored)

    def check(self, reader: Reader) -> None:
        """Derive the newest checkpoint's root from the stored tree, and count the entries under it."""
        checkpoint = self.checkpoint(reader)
        if (count := reader.count()) != checkpoint.size:
            raise self.broken(f"holds {count} entries, its checkpoint covers {checkpoint.size}")
        if not self._leads_to(reader, checkpoint):
            raise self.broken(f"has a stored tree that does not lead to its signed root: {self._where(reader)}")

    def verify(self, reader: Reader) -> list[tuple[int, int]]:
        """Hash every entry again, and compare every node and every signed checkpoint with what comes out.

        Returns where bodies are missing: only a fold can tell whether they may be.
        """
        newest, frontier, missing = self.checkpoint(reader).size, merkle.Frontier(), list[tuple[int, int]]()
        waiting = list[bytes]()  # leaves that were read ahead of the checkpoint that covers them
        for size, note in reader.checkpoints():
            behind = frontier.size
            while frontier.size + len(waiting) < size:
                start = frontier.size + len(waiting)
                leaves, bodies = self.leaves(reader, start, min(start + _READ_ROWS, newest))
                waiting += leaves
                missing += [(index, index + 1) for index, body in enumerate(bodies, start) if not body]
            frontier, nodes = frontier.grown(waiting[: size - behind])
            del waiting[: size - behind]
            self._compare(reader, nodes)
            if self.opened(note) != notes.Checkpoint(self.verifier.name, size, frontier.root()):
                raise self.broken(f"was changed in entry {behind} to {size - 1}: their signed root differs")
        if (count := reader.count()) != newest:
            raise self.broken(f"holds {count} entries, its checkpoint covers {newest}")
        return missing

    def broken(self, what: str) -> IntegrityError:
        return IntegrityError(f"the ledger {self.store.place} {what}. Do not go on with it: restore a backup")

    def _compare(self, reader: Reader, nodes: Sequence[merkle.Node]) -> None:
        for level, index, value in nodes:
            if reader.nodes(level, index, index + 1) != [value]:
                raise self.broken(f"has a tree node of level {level}, {index}, that is not its children's hash")

    def _leads_to(self, reader: Reader, checkpoint: notes.Checkpoint) -> bool:
        return merkle.Frontier.read(checkpoint.size, self.node(reader)).root() == checkpoint.root

    def _where(self, reader: Reader) -> str:
        """Between which checkpoints the stored tree was changed: earlier ones it still leads to."""
        signed = list(reader.checkpoints())
        at = bisect_left(signed, True, key=lambda pair: not self._leads_to(reader, self.opened(pair[1])))
        start, end = signed[at - 1][0] if at else 0, signed[at][0] if at < len(signed) else signed[-1][0]
        return f"it was changed between entry {start} and {end - 1}"


class Replica:
    """The state and the frontier at the end of a log, as far as it was read."""

    def __init__(self, log: StoredLog) -> None:
        self.log = log
        self.forget()

    def forget(self) -> None:
        """Read the log from its beginning again, next time."""
        self.state, self.frontier, self._note = State(), merkle.Frontier(), b""

    def catch_up(self, reader: Reader) -> None:
        """Read on to the newest checkpoint. Raises IntegrityError, naming the entry, for what does not lead to it."""
        if (note := reader.checkpoint()) == self._note:
            return
        checkpoint = self.log.opened(note)
        if checkpoint.size < self.frontier.size:
            raise self.log.broken(f"went back from {self.frontier.size} entries to {checkpoint.size}")
        behind = self.frontier.size
        try:
            for start in range(behind, checkpoint.size, _READ_ROWS):
                leaves, bodies = self.log.leaves(reader, start, min(start + _READ_ROWS, checkpoint.size))
                self.frontier, _ = self.frontier.grown(leaves)
                for index, body in enumerate(bodies, start):
                    if body:
                        fold.apply(self.state, index, Entry.decode(body))
                    else:
                        fold.skip(self.state, index)
            if self.frontier.root() != checkpoint.root:
                raise self.log.broken("holds entries that do not lead to its signed root")
            skipped = self.state.skipped
            self.require_dropped(skipped[bisect_right(skipped, behind, key=itemgetter(1)) :])
        except BaseException:
            self.forget()
            raise
        self._note = note

    def settle(self, frontier: merkle.Frontier, note: bytes) -> None:
        """What the state is ahead by has been written, and `note` covers it."""
        self.frontier, self._note = frontier, note

    def require_dropped(self, missing: Sequence[tuple[int, int]]) -> None:
        """Raises IntegrityError for a body that is missing without a `retention.applied` in the log that covers it."""
        for index, _ in self.state.unexplained(missing):
            raise self.log.broken(f"lacks the body of entry {index}, and no retention.applied covers it")
