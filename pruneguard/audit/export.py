"""Write a bundle: the whole log, and what stands behind one model's decisions, in one archive that has one form.

1. read the log once: hash it, fold it, choose what is about the model and the span;
2. take the documents that the chosen entries name, make the views, sign the statements;
3. count size and digest of every file into the manifest, and sign that;
4. write the files in order, reading the log a second time: it is never in memory as a whole.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from cryptography.hazmat.primitives.asymmetric import ec

from pruneguard import canonical
from pruneguard.audit import archive, bundle, history, signing
from pruneguard.audit.archive import Piece
from pruneguard.audit.history import History
from pruneguard.audit.log import Log, Tree, progress
from pruneguard.audit.selection import Selection
from pruneguard.audit.views import STATEMENTS, VERSION, VIEWS, signed_models
from pruneguard.errors import IntegrityError, InvalidInputError
from pruneguard.files import appearing
from pruneguard.ledger import merkle, notes, tiles
from pruneguard.ledger.keys import LogKey
from pruneguard.ledger.store import Reader
from pruneguard.ledger.stored import StoredLog

if TYPE_CHECKING:
    from pruneguard.ledger.ledger import Ledger  # brings the database along, which a verifier has not

_NONE: Mapping[str, bytes] = MappingProxyType({})


class Documents(Protocol):
    """The artefact store, as far as an export needs it."""

    def __contains__(self, digest: str) -> bool: ...

    def get(self, name: str, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Keys:
    """What a service signs bundles with."""

    log: LogKey
    """The ledger's own: it signs the manifest and the attestations."""
    models: ec.EllipticCurvePrivateKey
    """Signs models in the form of model-signing, which takes no Ed25519."""


def export(
    ledger: "Ledger",
    artifacts: Documents,
    *,
    keys: Keys,
    model: str,
    out: Path,
    start: str | None = None,
    end: str | None = None,
    frameworks: Mapping[str, bytes] = _NONE,
    anchors: Mapping[str, bytes] = _NONE,
) -> str:
    """Write the bundle of `model` to `out`, in place of what is there, and return its digest.

    `start` and `end` are times as events have them, `frameworks` the files of the control frameworks by name, `anchors`
    what witnesses say, by path.

    The same selection of the same ledger at the same size gives the same bytes. Raises InvalidInputError for an unknown
    model or a span that ends before it starts, IntegrityError when the log's bytes do not lead to its signed root.
    """
    files = pieces(
        ledger,
        artifacts,
        keys=keys,
        model=model,
        start=start,
        end=end,
        frameworks=frameworks,
        anchors=anchors,
    )
    with files as opened, appearing(out, replace=True) as unfinished:
        return archive.write(archive.blocks(opened), unfinished)


@contextmanager
def pieces(
    ledger: "Ledger",
    artifacts: Documents,
    *,
    keys: Keys,
    model: str,
    start: str | None = None,
    end: str | None = None,
    frameworks: Mapping[str, bytes] = _NONE,
    anchors: Mapping[str, bytes] = _NONE,
) -> Iterator[dict[str, Piece]]:
    """The files of a bundle by path. Their content can be made as long as the context lasts."""
    if keys.log.verifier != ledger.verifier:
        raise InvalidInputError(f"a bundle is signed by its ledger's own key, {ledger.verifier.vkey}; not by this one")
    if start is not None and end is not None and start >= end:
        raise InvalidInputError(f"the span from {start} to {end} is empty; name an end that is later than its start")
    with ledger.store.reading() as reader:
        source = _Source(StoredLog(ledger.store, ledger.verifier), reader)
        tree = source.tree()
        told = history.read(source.log, model=model, start=start, end=end)
        if model not in told.state.models:
            raise InvalidInputError(f"the ledger has no model {model!r}; name one that it knows")
        documents: dict[str, Piece] = {}
        selection = source.selection(told, frameworks, documents)
        absent = _find(documents, artifacts, bundle.documents(selection))
        files = {
            **{path: Piece.of(content) for path, content in _fixed(source, frameworks, anchors).items()},
            **source.pieces(tree),
            **_proofs(bundle.decisions(selection), tree, source.checkpoint, source.note),
            **documents,
            **_derived(selection, keys),
        }
        manifest = bundle.Manifest(
            model=model,
            start=start,
            end=end,
            frameworks=tuple(sorted(frameworks)),
            views=VERSION,
            origin=source.checkpoint.origin,
            size=source.checkpoint.size,
            root=source.checkpoint.root.hex(),
            files=tuple(bundle.File(path, piece.size, piece.digest) for path, piece in sorted(files.items())),
            absent=absent,
            left_out=told.left_out,
        )
        files[bundle.MANIFEST] = Piece.of(manifest.encode())
        files[bundle.SEAL] = Piece.of(bundle.sign(manifest.statement(), keys.log))
        yield files


class _Source:
    """The log in the store, within one view of it, as tiles."""

    def __init__(self, stored: StoredLog, reader: Reader) -> None:
        self._stored, self._reader = stored, reader
        self.note = reader.checkpoint()
        self.checkpoint = stored.checkpoint(reader)
        self.log = Log(self.checkpoint.size, self._block)
        self.vkey = stored.verifier.vkey
        self._bundles: dict[str, Piece] = {}

    def tree(self) -> Tree:
        """Hash the whole log, and remember size and digest of each bundle of entries."""
        leaves, size = bytearray(), self.checkpoint.size
        bar = progress("hashing the log", size)
        for tile in tiles.entry_bundles(size):
            hashes, bodies = self._stored.leaves(self._reader, tile.start, tile.start + tile.width)
            leaves += b"".join(hashes)
            content = tiles.encode_bundle(bodies)
            path = bundle.ledger_path(tile)
            self._bundles[path] = Piece(len(content), canonical.digest(content), partial(self._entries, tile.index))
            bar(tile.start + tile.width, size)
        tree = Tree(leaves)
        if tree.root(size) != self.checkpoint.root:
            raise IntegrityError(
                f"the entries of {self._stored.store.place} do not lead to its signed root; restore a backup"
            )
        return tree

    def pieces(self, tree: Tree) -> dict[str, Piece]:
        """The tiles, content made when it is asked for."""
        files = dict(self._bundles)
        for tile in tiles.hash_tiles(self.checkpoint.size):
            content = tree.tile(tile)
            files[bundle.ledger_path(tile)] = Piece(len(content), canonical.digest(content), partial(tree.tile, tile))
        return files

    def selection(self, told: History, frameworks: Mapping[str, bytes], found: Mapping[str, Piece]) -> Selection:
        """`found` are the documents of this bundle by path: no view may read another, which a verifier has not."""

        def document(digest: str) -> bytes | None:
            piece = found.get(bundle.document_path(digest))
            return None if piece is None else piece.content()

        return Selection(
            model=told.model,
            start=told.start,
            end=told.end,
            log=self.log,
            state=told.state,
            checkpoint=self.checkpoint,
            frameworks=dict(sorted(frameworks.items())),
            document=document,
            positions=told.positions,
            kinds=told.kinds,
        )

    def _block(self, number: int) -> Sequence[bytes]:
        start = number * tiles.WIDTH
        return self._stored.leaves(self._reader, start, min(start + tiles.WIDTH, self.checkpoint.size))[1]

    def _entries(self, number: int) -> bytes:
        return tiles.encode_bundle(self._block(number))


def _fixed(source: _Source, frameworks: Mapping[str, bytes], anchors: Mapping[str, bytes]) -> dict[str, bytes]:
    return {
        bundle.CHECKPOINT: source.note,
        bundle.VKEY: f"{source.vkey}\n".encode(),
        **{bundle.framework_path(name): content for name, content in frameworks.items()},
        **anchors,
    }


def _proofs(indices: Sequence[int], tree: Tree, checkpoint: notes.Checkpoint, note: bytes) -> dict[str, Piece]:
    def proof(index: int) -> bytes:
        return tiles.Proof(index, tuple(merkle.inclusion(index, checkpoint.size, tree.node)), note).encode()

    files = {}
    for index in indices:
        content = proof(index)
        files[bundle.proof_path(index)] = Piece(len(content), canonical.digest(content), partial(proof, index))
    return files


def _find(documents: dict[str, Piece], artifacts: Documents, named: Iterable[str]) -> dict[str, str]:
    """Add what the store holds of the documents named, and return which are absent and why."""
    absent = {}
    for digest in named:
        if digest not in artifacts:
            absent[digest] = "not in the artefact store"
        elif (size := len(artifacts.get(digest))) > bundle.DOCUMENT_BYTES_MAX:
            absent[digest] = f"{size} bytes; a bundle holds documents up to {bundle.DOCUMENT_BYTES_MAX}"
        else:
            documents[bundle.document_path(digest)] = Piece(size, digest, partial(artifacts.get, digest))
    return absent


def _derived(selection: Selection, keys: Keys) -> dict[str, Piece]:
    files = {path: Piece.of(content) for path, content in bundle.tools().items()}
    files |= {path: Piece.of(content) for view in VIEWS for path, content in view(selection).items()}
    for view in STATEMENTS:
        for path, payloads in view(selection).items():
            files[path] = Piece.of(b"".join(bundle.sign(payload, keys.log) + b"\n" for payload in payloads))
    for path, digest in signed_models(selection).items():
        files[path] = Piece.of(signing.sign(digest, keys.models))
    files[bundle.MODEL_KEY] = Piece.of(signing.public_pem(keys.models))
    return files
