"""A bundle, read: each part is made out of the archive once, when it is first needed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from hashlib import sha256
from typing import Generic, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pruneguard import canonical
from pruneguard.audit import bundle, history
from pruneguard.audit.archive import Archive, RefusedError
from pruneguard.audit.history import History
from pruneguard.audit.log import HASH_BYTES, Log, Tree
from pruneguard.audit.selection import Selection
from pruneguard.audit.views import STATEMENTS, VIEWS, signed_models
from pruneguard.errors import InvalidInputError
from pruneguard.ledger import dsse, notes, tiles

Part = TypeVar("Part")


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
            checkpoint = notes.Checkpoint.parse(notes.Note.parse(self.note).text)
        if checkpoint.size > tiles.WIDTH * len(self.archive.members):  # before anything walks that many entries
            raise RefusedError(
                self.archive.place(bundle.CHECKPOINT), f"{checkpoint.size} entries; there are not files enough for them"
            )
        return checkpoint

    @cached_property
    def verifier(self) -> notes.Verifier:
        with self._placed(bundle.VKEY):
            return notes.Verifier.parse(self.archive.read(bundle.VKEY).decode("utf-8", "replace"))

    @cached_property
    def log_key(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.verifier.public_key)

    @cached_property
    def log(self) -> Log:
        return Log(self.checkpoint.size, self.block)

    def block(self, number: int) -> list[bytes]:
        """The entries of one bundle of entries; one whose body was dropped is empty."""
        tile = _entry_bundle(number, self.checkpoint.size)
        path = bundle.ledger_path(tile)
        member = self.archive.members.get(path)
        if member is not None and member.size > tile.width * (2 + tiles.ENTRY_BYTES_MAX):
            raise RefusedError(self.archive.place(path), f"{member.size} bytes; {tile.width} entries are never as long")
        with self._placed(path):
            found = tiles.decode_bundle(self.archive.read(path))
        if len(found) != tile.width:
            raise RefusedError(self.archive.place(path), f"{len(found)} entries; expected {tile.width}")
        return found

    @property
    def tree(self) -> Tree:
        """Hashed anew from the entries. Of one without a body it takes the hash that its tile has."""
        return self._tree.get()

    @cached_property
    def _tree(self) -> "_Once[Tree]":
        return _Once(lambda: Tree(self._leaves()))

    def _leaves(self) -> bytearray:
        leaves, size = bytearray(), self.checkpoint.size
        for first, block in self.log.blocks("hashing the log"):
            hashes = [sha256(b"\x00" + raw).digest() for raw in block]
            if not all(block):
                tile = tiles.Tile(0, first // tiles.WIDTH, min(tiles.WIDTH, size - first))
                told = self.archive.read(bundle.ledger_path(tile))
                for offset, raw in enumerate(block):
                    if not raw:
                        hashes[offset] = told[HASH_BYTES * offset :][:HASH_BYTES].ljust(HASH_BYTES, b"\x00")
            leaves += b"".join(hashes)
        return leaves

    @property
    def history(self) -> History:
        return self._history.get()

    @cached_property
    def _history(self) -> "_Once[History]":
        def read() -> History:
            about = self.manifest
            try:
                return history.read(self.log, model=about.model, start=about.start, end=about.end)
            except history.UnreadableError as error:
                raise RefusedError(self.place(error.index), error.detail) from error

        return _Once(read)

    @cached_property
    def selection(self) -> Selection:
        about, told = self.manifest, self.history
        frameworks = {name: self.archive.read(bundle.framework_path(name)) for name in about.frameworks}
        return Selection(
            model=about.model,
            start=about.start,
            end=about.end,
            log=self.log,
            state=told.state,
            checkpoint=self.checkpoint,
            frameworks=frameworks,
            document=self._document_or_none,
            positions=told.positions,
            kinds=told.kinds,
        )

    @cached_property
    def documents(self) -> Mapping[str, int]:
        """Digests of the documents that belong here, with the position that names each first."""
        return bundle.documents(self.selection)

    @cached_property
    def derived(self) -> Mapping[str, bytes]:
        """What the views make of the log and its documents."""
        selection = self.selection
        with self._made_of_it():
            return {path: content for view in VIEWS for path, content in view(selection).items()}

    @cached_property
    def statements(self) -> Mapping[str, Sequence[bytes]]:
        """What each file of attestations says, line by line, when it says what the log leads to."""
        selection = self.selection
        with self._made_of_it():
            return {path: payloads for view in STATEMENTS for path, payloads in view(selection).items()}

    @cached_property
    def signed_models(self) -> Mapping[str, str]:
        """Path of each signature of a model that belongs here -> the model's digest."""
        selection = self.selection
        with self._made_of_it():
            return signed_models(selection)

    def lines(self, path: str) -> list[bytes]:
        """The lines of a file of attestations."""
        *lines, rest = self.archive.read(path).split(b"\n")
        if rest or not all(lines):
            raise RefusedError(self.archive.place(path), "not one envelope on each line, and a newline behind each")
        return lines

    def payloads(self, path: str) -> list[bytes]:
        """What the lines of a file of attestations say; nothing where there is no such file."""
        if path not in self.archive.members:
            return []
        with self._placed(path):
            return [dsse.Envelope.decode(line).payload for line in self.lines(path)]

    def document(self, digest: str) -> bytes:
        """A document, checked against the name it goes by."""
        path = bundle.document_path(digest)
        content = self.archive.read(path)
        if (found := canonical.digest(content)) != digest:
            raise RefusedError(self.archive.place(path), f"the document's digest is {found}")
        return content

    def place(self, index: int) -> str:
        """Where an entry stands, in words."""
        number, offset = divmod(index, tiles.WIDTH)
        block = self.log.block(number)
        before = sum(2 + len(entry) for entry in block[:offset])
        path = bundle.ledger_path(_entry_bundle(number, self.checkpoint.size))
        return f"entry {index}: {self.archive.place(path, before, before + 2 + len(block[offset]))}"

    def _document_or_none(self, digest: str) -> bytes | None:
        return self.document(digest) if bundle.document_path(digest) in self.archive.members else None

    @contextmanager
    def _made_of_it(self) -> Iterator[None]:
        try:
            yield
        except InvalidInputError as error:
            raise RefusedError(
                "a document or framework of the bundle", f"nothing can be made of it: {error}"
            ) from error

    @contextmanager
    def _placed(self, path: str) -> Iterator[None]:
        try:
            yield
        except InvalidInputError as error:
            raise RefusedError(self.archive.place(path), str(error)) from error


class _Once(Generic[Part]):
    """A part that takes long to make: that it cannot be made is remembered as well."""

    def __init__(self, make: Callable[[], Part]) -> None:
        self._make = make
        self._outcome: Part | Exception | None = None

    def get(self) -> Part:
        if self._outcome is None:
            try:
                self._outcome = self._make()
            except Exception as error:  # noqa: BLE001  raised below, for each step that asks
                self._outcome = error
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


def _entry_bundle(number: int, size: int) -> tiles.Tile:
    return tiles.Tile(None, number, min(tiles.WIDTH, size - number * tiles.WIDTH))
