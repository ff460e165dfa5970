"""A bundle, read: each part is made out of the archive once, when it is first needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from pruneguard import canonical
from pruneguard.audit import bundle
from pruneguard.audit.archive import Archive, RefusedError
from pruneguard.errors import InvalidInputError
from pruneguard.ledger import fold, merkle, notes, rules, tiles
from pruneguard.ledger.events import Entry, Event
from pruneguard.ledger.state import State


@dataclass(frozen=True, slots=True)
class Folded:
    """The state the log leads to; and what is wrong on the way, as positions and reasons."""

    state: State
    unsigned: tuple[tuple[int, str], ...]
    forbidden: tuple[tuple[int, str], ...]


class Contents:
    """Parts of a bundle. Each raises InvalidInputError or RefusedError when it cannot be made of what is there."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive

    @cached_property
    def manifest(self) -> bundle.Manifest:
        with self._placed(bundle.MANIFEST):
            return bundle.Manifest.decode(self.archive.read(bundle.MANIFEST))

    @cached_property
    def note(self) -> bytes:
        return self.archive.read(bundle.CHECKPOINT)

    @cached_property
    def checkpoint(self) -> notes.Checkpoint:
        """What the checkpoint says, whoever signed it."""
        with self._placed(bundle.CHECKPOINT):
            return notes.Checkpoint.parse(notes.Note.parse(self.note).text)

    @cached_property
    def verifier(self) -> notes.Verifier:
        with self._placed(bundle.VKEY):
            return notes.Verifier.parse(self.archive.read(bundle.VKEY).decode("utf-8", "replace"))

    @cached_property
    def entries(self) -> list[bytes]:
        entries: list[bytes] = []
        for tile in tiles.entry_bundles(self.checkpoint.size):
            path = bundle.ledger_path(tile)
            with self._placed(path):
                found = tiles.decode_bundle(self.archive.read(path))
            if len(found) != tile.width:
                raise RefusedError(self.archive.place(path), f"{len(found)} entries; expected {tile.width}")
            entries += found
        return entries

    @cached_property
    def levels(self) -> merkle.Levels:
        return merkle.levels([merkle.leaf_hash(entry) for entry in self.entries])

    @cached_property
    def log(self) -> list[Entry]:
        return [self._decoded(index, raw) for index, raw in enumerate(self.entries)]

    @cached_property
    def events(self) -> list[Event]:
        return [entry.event for entry in self.log]

    @cached_property
    def folded(self) -> Folded:
        state = State()
        unsigned: list[tuple[int, str]] = []
        for index, entry in enumerate(self.log):
            unsigned += [(index, reason) for reason in _unsigned(state, entry)]
            fold.apply(state, index, entry)
        known = set(unsigned)
        return Folded(state, tuple(unsigned), tuple(v for v in state.violations if v not in known))

    def document(self, digest: str) -> bytes:
        """A document, checked against the name it goes by."""
        path = bundle.document_path(digest)
        content = self.archive.read(path)
        if (found := canonical.digest(content)) != digest:
            raise RefusedError(self.archive.place(path), f"the document's digest is {found}")
        return content

    def place(self, index: int) -> str:
        """Where an entry stands, in words."""
        tile = next(t for t in tiles.entry_bundles(self.checkpoint.size) if t.start <= index < t.start + t.width)
        before = sum(2 + len(entry) for entry in self.entries[tile.start : index])
        end = before + 2 + len(self.entries[index])
        return f"entry {index}: {self.archive.place(bundle.ledger_path(tile), before, end)}"

    @contextmanager
    def _placed(self, path: str) -> Iterator[None]:
        try:
            yield
        except InvalidInputError as error:
            raise RefusedError(self.archive.place(path), str(error)) from error

    def _decoded(self, index: int, raw: bytes) -> Entry:
        try:
            return Entry.decode(raw)
        except InvalidInputError as error:
            raise RefusedError(self.place(index), str(error)) from error


def _unsigned(state: State, entry: Entry) -> list[str]:
    try:
        return list(rules.signature_objections(state, entry))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return [f"{entry.event.type}: malformed: {type(error).__name__} {error}"]
