"""Check a bundle, offline and from its bytes alone.

   1. files       the archive is the one form of its content
   2. files       the manifest lists exactly that content
   3. signatures  the log signed the checkpoint
   4. signatures  every act of a person carries their own signature
   5. tree        the entries lead to the signed root
   6. tree        the hash tiles are those of the entries
   7. tree        each decision has its proof
   8. anchoring   the log continues a held checkpoint (where one is given)
   9. semantics   no entry breaks a rule of the fold
  10. semantics   policies were adopted as they are written
  11. semantics   each verdict follows from its evidence
  12. artefacts   documents are those that the events name

Every failure names its place. Steps that rest on a failed one run where they can; the exit code is that of the first
level that fails.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeAlias

from pruneguard import canonical
from pruneguard.audit import bundle
from pruneguard.audit.archive import Archive, RefusedError
from pruneguard.audit.contents import Contents
from pruneguard.audit.redecide import ReadDocument, policy_faults, verdict_faults
from pruneguard.audit.report import Check, Level, Report
from pruneguard.errors import InvalidInputError, PruneGuardError
from pruneguard.ledger import merkle, notes, tiles
from pruneguard.ledger.events import Event

__all__ = ["Check", "Level", "Report", "verify"]

Fault: TypeAlias = "tuple[str, str]"
"""Where, and what is wrong there."""

Step: TypeAlias = Callable[[Contents], Iterator[Fault]]

_FAULTS_MAX = 20
_ARCHIVE = "the archive is the one form of its content"
_FIXED = {bundle.GUIDE, bundle.CHECKPOINT, bundle.VKEY}
_FOLDERS = (bundle.TILES, bundle.PROOFS, bundle.DOCUMENTS)


def verify(path: Path, *, held: Path | None = None) -> Report:
    """Run every step over the bundle at `path`; `held` is a checkpoint that the auditor kept from an earlier look.

    A bundle that is not as it must be is a report with failures, never an exception. Raises InvalidInputError when
    there is no such file to read.
    """
    try:
        with path.open("rb") as file:
            return Report(tuple(_checks(file, None if held is None else held.read_bytes())))
    except OSError as error:
        raise InvalidInputError(f"{error.filename or path} cannot be read: {error.strerror}; name the file") from error


def _checks(file: BinaryIO, held: bytes | None) -> Iterator[Check]:
    try:
        contents = Contents(Archive(file))
    except RefusedError as error:
        yield Check(Level.FILES, _ARCHIVE, ok=False, place=error.place, detail=error.detail)
        return
    yield Check(Level.FILES, _ARCHIVE, ok=True)
    for level, what, step in _steps(held):
        yield from _run(level, what, step, contents)


def _steps(held: bytes | None) -> Iterator[tuple[Level, str, Step]]:
    yield Level.FILES, "the manifest lists exactly this content", _manifest
    yield Level.SIGNATURES, "the log signed its checkpoint", _checkpoint
    yield Level.SIGNATURES, "every act of a person carries their own signature", _signatures
    yield Level.TREE, "the entries lead to the signed root", _root
    yield Level.TREE, "the hash tiles are those of the entries", _tiles
    yield Level.TREE, "each decision has its proof", _proofs
    if held is not None:
        yield Level.ANCHORING, "the log continues the held checkpoint", partial(_held, held=held)
    yield Level.SEMANTICS, "no entry breaks a rule", _rules
    yield Level.SEMANTICS, "policies were adopted as they are written", _policies
    yield Level.SEMANTICS, "each verdict follows from its evidence", _verdicts
    yield Level.ARTEFACTS, "documents are those that the events name", _documents


def _run(level: Level, what: str, step: Step, contents: Contents) -> list[Check]:
    faults: list[Fault] = []
    try:
        faults += islice(step(contents), _FAULTS_MAX)
    except RefusedError as error:
        faults.append((error.place, error.detail))
    except Exception as error:  # noqa: BLE001  hostile values may make any reader raise: a failed check, no crash
        faults.append(("the bundle", f"cannot be checked: {type(error).__name__} {error}"))
    if not faults:
        return [Check(level, what, ok=True)]
    return [Check(level, what, ok=False, place=place, detail=detail) for place, detail in faults]


# 2


def _manifest(contents: Contents) -> Iterator[Fault]:
    manifest, archive = contents.manifest, contents.archive
    listed = [file.path for file in manifest.files]
    present = sorted(archive.members.keys() - {bundle.MANIFEST})
    for path in sorted({*listed, *_FIXED} - set(present)):
        yield path, "this file is missing"
    for path in present:
        if path not in listed:
            yield path, "the manifest does not list this file"
        elif path not in _FIXED and not path.startswith(_FOLDERS):
            yield path, "a bundle has no such file"
    if listed != sorted(set(listed)):
        yield bundle.MANIFEST, "files are not listed once each, in order"
    for file in manifest.files:
        if file.path in archive.members and file.path != bundle.MANIFEST:
            content = archive.read(file.path)
            if (found := canonical.digest(content)) != file.sha256 or len(content) != file.size:
                told = f"{file.size} bytes with {file.sha256}"
                yield archive.place(file.path), f"{len(content)} bytes with {found}; the manifest says {told}"
    checkpoint = contents.checkpoint
    said = (manifest.origin, manifest.size, manifest.root)
    if said != (signed := (checkpoint.origin, checkpoint.size, checkpoint.root.hex())):
        yield bundle.MANIFEST, f"origin, size and root are {said}; the checkpoint says {signed}"


# 3


def _checkpoint(contents: Contents) -> Iterator[Fault]:
    if contents.archive.read(bundle.VKEY) != f"{contents.verifier.vkey}\n".encode():
        yield contents.archive.place(bundle.VKEY), "not one verifier key on a line"
    try:
        notes.open_checkpoint(contents.note, contents.verifier)
    except PruneGuardError as error:
        yield contents.archive.place(bundle.CHECKPOINT), str(error)


# 4


def _signatures(contents: Contents) -> Iterator[Fault]:
    for index, reason in contents.folded.unsigned:
        yield contents.place(index), reason


# 5


def _root(contents: Contents) -> Iterator[Fault]:
    size, leaves = contents.checkpoint.size, contents.levels.hashes[0]
    if merkle.Frontier.read(size, contents.levels.node).root() == contents.checkpoint.root:
        return
    yield bundle.CHECKPOINT, f"its root is not the one of the {size} entries"
    for tile in tiles.hash_tiles(size):
        told = contents.archive.members.get(path := bundle.ledger_path(tile))
        if tile.level == 0 and told is not None:
            content = contents.archive.read(path)
            for index in range(tile.start, tile.start + tile.width):
                if leaves[index] != content[32 * (index - tile.start) :][:32]:
                    yield contents.place(index), "the entry's hash is not the one in the tree"


# 6


def _tiles(contents: Contents) -> Iterator[Fault]:
    size, archive = contents.checkpoint.size, contents.archive
    expected = {bundle.ledger_path(tile) for tile in tiles.entry_bundles(size)}
    for tile in tiles.hash_tiles(size):
        expected.add(path := bundle.ledger_path(tile))
        content, right = archive.read(path), tiles.tile_bytes(tile, contents.levels.node)
        if content != right:
            at = next((i for i in range(0, len(right), 32) if content[i : i + 32] != right[i : i + 32]), len(right))
            yield archive.place(path, at, at + 32), "not the hash of the entries below it"
    for path in sorted(p for p in archive.members if p.startswith(bundle.TILES) and p not in expected):
        yield path, f"no part of a log of {size} entries"


# 7


def _proofs(contents: Contents) -> Iterator[Fault]:
    archive, size, node = contents.archive, contents.checkpoint.size, contents.levels.node
    expected = set()
    for index in bundle.decisions(contents.manifest.model, contents.events):
        expected.add(path := bundle.proof_path(index))
        proof = tiles.Proof(index, tuple(merkle.inclusion(index, size, node)), contents.note)
        if archive.read(path) != proof.encode():
            yield archive.place(path), f"not the proof that entry {index} is in the checkpoint's tree"
    for path in sorted(p for p in archive.members if p.startswith(bundle.PROOFS) and p not in expected):
        yield path, f"no decision about {contents.manifest.model!r}"


# 8


def _held(contents: Contents, *, held: bytes) -> Iterator[Fault]:
    before = notes.open_checkpoint(held, contents.verifier)
    if before.size > contents.checkpoint.size:
        yield (
            bundle.CHECKPOINT,
            f"this log ends at {contents.checkpoint.size} entries, the held checkpoint covers {before.size}: "
            "ask for an export made after it",
        )
    elif merkle.Frontier.read(before.size, contents.levels.node).root() != before.root:
        yield (
            bundle.CHECKPOINT,
            f"the first {before.size} entries are not those of the held checkpoint: history was rewritten",
        )


# 9


def _rules(contents: Contents) -> Iterator[Fault]:
    folded = contents.folded
    for index, reason in folded.forbidden:
        yield contents.place(index), reason
    if contents.checkpoint.origin != folded.state.origin:
        yield (
            contents.place(0),
            f"the log was opened as {folded.state.origin!r}, its checkpoint is of {contents.checkpoint.origin!r}",
        )
    if contents.manifest.model not in folded.state.models:
        yield bundle.MANIFEST, f"the log knows no model {contents.manifest.model!r}"


# 10


def _policies(contents: Contents) -> Iterator[Fault]:
    named = bundle.documents(contents.manifest.model, contents.events)
    for index, event in enumerate(contents.events):
        if event.type == "policy.adopted" and event.refs["policy"] in named:
            yield from _decided_again(contents, index, policy_faults)


# 11


def _verdicts(contents: Contents) -> Iterator[Fault]:
    for index, event in enumerate(contents.events):
        if event.type == "verdict.given" and bundle.about(contents.manifest.model, event):
            yield from _decided_again(contents, index, verdict_faults)


def _decided_again(
    contents: Contents, index: int, faults: Callable[[Event, ReadDocument], Iterator[str]]
) -> Iterator[Fault]:
    try:
        for reason in faults(contents.events[index], contents.document):
            yield contents.place(index), reason
    except RefusedError as error:
        yield f"{contents.place(index)}; {error.place}", f"cannot be decided again: {error.detail}"
    except Exception as error:  # noqa: BLE001  a hostile document may make any reader raise: a fault, no crash
        yield contents.place(index), f"cannot be decided again: {type(error).__name__} {error}"


# 12


def _documents(contents: Contents) -> Iterator[Fault]:
    archive, absent = contents.archive, contents.manifest.absent
    named = bundle.documents(contents.manifest.model, contents.events)
    paths = {bundle.document_path(digest): digest for digest in named}
    for path in sorted(p for p in archive.members if p.startswith(bundle.DOCUMENTS)):
        if path not in paths:
            yield path, f"no event about {contents.manifest.model!r} names this document"
        elif (found := canonical.digest(archive.read(path))) != paths[path]:
            yield archive.place(path), f"its digest is {found}"
        elif paths[path] in absent:
            yield path, "the manifest calls this document absent"
    for digest, index in named.items():
        if bundle.document_path(digest) not in archive.members and digest not in absent:
            yield contents.place(index), f"names {digest}, which is missing"
    for digest in sorted(absent.keys() - named.keys()):
        yield bundle.MANIFEST, f"calls {digest} absent, which no event about this model names"
