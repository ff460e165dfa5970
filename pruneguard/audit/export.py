"""Write a bundle: the log, and the documents behind one model's decisions, in one archive that has one form."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pruneguard import canonical
from pruneguard.audit import archive, bundle
from pruneguard.errors import IntegrityError, InvalidInputError
from pruneguard.files import appearing
from pruneguard.ledger import merkle, notes, tiles
from pruneguard.ledger.events import Entry

if TYPE_CHECKING:
    from pruneguard.ledger.ledger import Ledger  # brings the database along, which a verifier has not

_GUIDE = Path(__file__).with_name(bundle.GUIDE)


class Documents(Protocol):
    """The artefact store, as far as an export needs it."""

    def __contains__(self, digest: str) -> bool: ...

    def get(self, name: str, /) -> bytes: ...


def export(ledger: "Ledger", artifacts: Documents, *, model: str, out: Path) -> str:
    """Write the bundle of `model` to `out`, in place of what is there, and return its digest.

    The same ledger at the same size gives the same bytes. Raises InvalidInputError for an unknown model and
    IntegrityError when the log's bytes do not lead to its signed root.
    """
    files = contents(ledger, artifacts, model=model)
    with appearing(out, replace=True) as partial:
        archive.write(files, partial)
        return canonical.digest(partial.read_bytes())


def contents(ledger: "Ledger", artifacts: Documents, *, model: str) -> dict[str, bytes]:
    """The files of a bundle by path."""
    note = ledger.checkpoint
    checkpoint = notes.open_checkpoint(note, ledger.verifier)
    entries = ledger.raw(0, checkpoint.size)
    levels = merkle.levels([merkle.leaf_hash(entry) for entry in entries])
    if merkle.Frontier.read(checkpoint.size, levels.node).root() != checkpoint.root:
        raise IntegrityError(f"the entries of {ledger.store.place} do not lead to its signed root; restore a backup")
    events = [Entry.decode(entry).event for entry in entries]
    if not any(bundle.about(model, event) for event in events):
        raise InvalidInputError(f"the ledger has no event about {model!r}; name a model it knows")

    files = {
        bundle.GUIDE: _GUIDE.read_bytes(),
        bundle.CHECKPOINT: note,
        bundle.VKEY: f"{ledger.verifier.vkey}\n".encode(),
        **_tiles(entries, levels.node),
    }
    for index in bundle.decisions(model, events):
        proof = tiles.Proof(index, tuple(merkle.inclusion(index, checkpoint.size, levels.node)), note)
        files[bundle.proof_path(index)] = proof.encode()
    found, absent = _documents(artifacts, list(bundle.documents(model, events)))
    files |= found
    manifest = bundle.Manifest(
        model=model,
        origin=checkpoint.origin,
        size=checkpoint.size,
        root=checkpoint.root.hex(),
        files=tuple(
            bundle.File(path, len(content), canonical.digest(content)) for path, content in sorted(files.items())
        ),
        absent=absent,
    )
    return {**files, bundle.MANIFEST: manifest.encode()}


def _tiles(entries: Sequence[bytes], node: merkle.ReadNode) -> dict[str, bytes]:
    files = {bundle.ledger_path(tile): tiles.tile_bytes(tile, node) for tile in tiles.hash_tiles(len(entries))}
    for tile in tiles.entry_bundles(len(entries)):
        files[bundle.ledger_path(tile)] = tiles.encode_bundle(entries[tile.start : tile.start + tile.width])
    return files


def _documents(artifacts: Documents, digests: Sequence[str]) -> tuple[dict[str, bytes], dict[str, str]]:
    files: dict[str, bytes] = {}
    absent: dict[str, str] = {}
    for digest in digests:
        if digest not in artifacts:
            absent[digest] = "not in the artefact store"
        elif len(content := artifacts.get(digest)) > bundle.DOCUMENT_BYTES_MAX:
            absent[digest] = f"{len(content)} bytes; a bundle holds documents up to {bundle.DOCUMENT_BYTES_MAX}"
        else:
            files[bundle.document_path(digest)] = content
    return files, absent
