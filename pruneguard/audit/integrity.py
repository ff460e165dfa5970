"""Steps of a verification that ask for no understanding: files, signatures of the log, tree. Numbers as in `verify`."""

from collections.abc import Iterator
from typing import TypeAlias

from pruneguard import canonical
from pruneguard.audit import bundle
from pruneguard.audit.contents import Contents
from pruneguard.errors import InvalidInputError, PruneGuardError
from pruneguard.ledger import dsse, merkle, notes, tiles

Fault: TypeAlias = "tuple[str, str]"
"""Where, and what is wrong there."""

Faults: TypeAlias = Iterator[Fault]


def listed(contents: Contents) -> Faults:
    """2. The manifest lists exactly this content."""
    manifest, archive = contents.manifest, contents.archive
    paths = [file.path for file in manifest.files]
    told = set(paths)
    present = sorted(archive.members.keys() - {bundle.MANIFEST, bundle.SEAL})
    for path in sorted({*told, *bundle.FIXED} - {*present, bundle.MANIFEST}):
        yield path, "this file is missing"
    for path in present:
        if path not in told:
            yield path, "the manifest does not list this file"
        elif path not in bundle.FIXED | bundle.OPTIONAL and not path.startswith(bundle.FOLDERS):
            yield path, "a bundle has no such file"
    if paths != sorted(told):
        yield bundle.MANIFEST, "files are not listed once each, in order"
    for file in manifest.files:
        if file.path in archive.members and file.path != bundle.MANIFEST:
            content = archive.read(file.path)
            if (found := canonical.digest(content)) != file.sha256 or len(content) != file.size:
                said = f"{file.size} bytes with {file.sha256}"
                yield archive.place(file.path), f"{len(content)} bytes with {found}; the manifest says {said}"
    checkpoint = contents.checkpoint
    said_too = (manifest.origin, manifest.size, manifest.root)
    if said_too != (signed := (checkpoint.origin, checkpoint.size, checkpoint.root.hex())):
        yield bundle.MANIFEST, f"origin, size and root are {said_too}; the checkpoint says {signed}"


def checkpoint(contents: Contents) -> Faults:
    """3. The log signed its checkpoint."""
    if contents.archive.read(bundle.VKEY) != f"{contents.verifier.vkey}\n".encode():
        yield contents.archive.place(bundle.VKEY), "not one verifier key on a line"
    try:
        note = notes.Note.parse(contents.note)
        notes.open_checkpoint(contents.note, contents.verifier)
    except PruneGuardError as error:
        yield contents.archive.place(bundle.CHECKPOINT), str(error)
        return
    if len(note.signatures) != 1 or note.encode() != contents.note:
        yield contents.archive.place(bundle.CHECKPOINT), "more than the log's own signature stands below it"


def seal(contents: Contents) -> Faults:
    """4. The log signed the manifest."""
    place = contents.archive.place(bundle.SEAL) if bundle.SEAL in contents.archive.members else bundle.SEAL
    content = contents.archive.read(bundle.SEAL)
    yield from ((place, reason) for reason in _unsigned(contents, content, contents.manifest.statement()))


def statements(contents: Contents) -> Faults:
    """6. The log signed each attestation."""
    for path in contents.archive.members:
        if path.startswith(bundle.ATTESTATIONS):
            place = contents.archive.place(path)
            for number, line in enumerate(contents.lines(path), 1):
                yield from ((f"{place}, line {number}", reason) for reason in _unsigned(contents, line))


def _unsigned(contents: Contents, content: bytes, payload: bytes | None = None) -> Iterator[str]:
    try:
        envelope = dsse.Envelope.decode(content)
    except InvalidInputError as error:
        yield str(error)
        return
    if envelope.payload_type != bundle.STATEMENT_TYPE:
        yield f"its payload is of type {envelope.payload_type!r}; expected {bundle.STATEMENT_TYPE!r}"
    elif not envelope.verified_by(contents.log_key):
        yield f"the signature is not that of {contents.verifier.vkey}"
    elif content != bundle.envelope(envelope, contents.verifier).encode():
        yield "not the one form of this envelope: one signature, and the log's key as its key id"
    elif payload not in (None, envelope.payload):
        yield "it is a statement about another manifest than this bundle's"


def root(contents: Contents) -> Faults:
    """8. The entries lead to the signed root."""
    size, tree = contents.checkpoint.size, contents.tree
    if tree.root(size) == contents.checkpoint.root:
        return
    yield bundle.CHECKPOINT, f"its root is not the one of the {size} entries"
    for tile in tiles.hash_tiles(size):
        told = contents.archive.members.get(path := bundle.ledger_path(tile))
        if tile.level == 0 and told is not None:
            content = contents.archive.read(path)
            for index in range(tile.start, tile.start + tile.width):
                if tree.node(0, index) != content[32 * (index - tile.start) :][:32]:
                    yield contents.place(index), "the entry's hash is not the one in the tree"


def hash_tiles(contents: Contents) -> Faults:
    """9. The hash tiles are those of the entries."""
    size, archive = contents.checkpoint.size, contents.archive
    expected = {bundle.ledger_path(tile) for tile in tiles.entry_bundles(size)}
    for tile in tiles.hash_tiles(size):
        expected.add(path := bundle.ledger_path(tile))
        content, right = archive.read(path), contents.tree.tile(tile)
        if content != right:
            at = next((i for i in range(0, len(right), 32) if content[i : i + 32] != right[i : i + 32]), len(right))
            yield archive.place(path, at, at + 32), "not the hash of the entries below it"
    for path in sorted(p for p in archive.members if p.startswith(bundle.TILES) and p not in expected):
        yield path, f"no part of a log of {size} entries"


def proofs(contents: Contents) -> Faults:
    """10. Each proof shows that its entry is in the checkpoint's tree."""
    archive, size, node = contents.archive, contents.checkpoint.size, contents.tree.node
    for path in sorted(p for p in archive.members if p.startswith(bundle.PROOFS)):
        try:
            index = tiles.Proof.decode(archive.read(path)).index
        except InvalidInputError as error:
            yield archive.place(path), str(error)
            continue
        if path != bundle.proof_path(index) or index >= size:
            yield archive.place(path), f"it is about entry {index} of {size}, and its name says otherwise"
        elif (
            archive.read(path) != tiles.Proof(index, tuple(merkle.inclusion(index, size, node)), contents.note).encode()
        ):
            yield archive.place(path), f"not the proof that entry {index} is in the checkpoint's tree"
