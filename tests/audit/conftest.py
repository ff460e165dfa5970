"""A bundle of the story, made once, and ways to spoil a copy of it."""

import io
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from policies.framework import load_frameworks
from pruneguard import canonical, testing
from pruneguard.artifacts import Artifacts
from pruneguard.audit import archive, bundle
from pruneguard.audit.archive import Piece
from pruneguard.audit.contents import Contents
from pruneguard.audit.export import Keys, export, pieces
from pruneguard.audit.selection import Selection
from pruneguard.ledger import merkle, notes
from pruneguard.ledger.ledger import Ledger
from tests.audit.telling import tell_more

KEYS = Keys(testing.log_key(), ec.derive_private_key(20260105, ec.SECP256R1()))


@dataclass(frozen=True)
class Told:
    """A ledger with a story in it, its documents, and the files of its bundle."""

    ledger: Ledger
    artifacts: Artifacts
    story: testing.Story
    files: Mapping[str, bytes]


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Shared: read it, and write to copies."""
    return tell(tmp_path_factory.mktemp("told"))


@pytest.fixture
def fresh(tmp_path: Path) -> Told:
    """One's own, to write to."""
    return tell(tmp_path / "told")


@pytest.fixture(scope="session")
def selection(told: Told, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Selection]:
    """What the story's bundle selects, as the verifier sees it. Shared: change copies."""
    with packed(told.files, tmp_path_factory.mktemp("selected") / "bundle.tar").open("rb") as file:
        yield Contents(archive.Archive(file)).selection


def tell(folder: Path) -> Told:
    ledger, artifacts = testing.memory_ledger(), Artifacts(str(folder / "artifacts"))
    story = testing.story(ledger, artifacts)
    return Told(ledger, artifacts, story, contents(ledger, artifacts, model=story.model))


@pytest.fixture(scope="session")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Shared, with all that `telling` adds: read it, and write to copies."""
    ledger, artifacts = testing.memory_ledger(), Artifacts(str(tmp_path_factory.mktemp("rich") / "artifacts"))
    story = testing.story(ledger, artifacts)
    tell_more(ledger, artifacts, story)
    return Told(ledger, artifacts, story, contents(ledger, artifacts, model=story.model))


def contents(ledger: Ledger, artifacts: Artifacts, **selection: Any) -> dict[str, bytes]:
    """The files of a bundle; with every framework that is shipped, unless some are named."""
    selection = {"frameworks": load_frameworks(), "keys": KEYS, **selection}
    with pieces(ledger, artifacts, **selection) as files:
        return {path: piece.content() for path, piece in files.items()}


def exported(told: Told, out: Path, **selection: Any) -> Path:
    """The bundle of a story as a file, written as a service writes it."""
    selection = {"frameworks": load_frameworks(), "keys": KEYS, "model": told.story.model, **selection}
    export(told.ledger.reopen(), told.artifacts, out=out, **selection)
    return out


def rewritten(told: Told, change: Callable[[list[bytes]], None], **selection: Any) -> dict[str, bytes]:
    """The bundle of a history that the holder of the log's key changed, hashed and signed again."""
    entries = told.ledger.raw(0, told.ledger.size)
    change(entries)
    return contents(Ledger(stored(entries)), told.artifacts, model=told.story.model, **selection)


def stored(entries: list[bytes]) -> testing.MemoryStore:
    """A log of these entries, whatever they say."""
    key, leaves = testing.log_key(), [merkle.leaf_hash(entry) for entry in entries]
    frontier, nodes = merkle.Frontier().grown(leaves)
    first = notes.Checkpoint(key.name, 1, leaves[0]).sign(key.key)
    note = notes.Checkpoint(key.name, frontier.size, frontier.root()).sign(key.key)
    store = testing.MemoryStore(key.verifier.vkey, entries[0], first)
    store.append(entries[1:], leaves=leaves[1:], nodes=nodes, size=frontier.size, checkpoint=note)
    return store


def listed(files: Mapping[str, bytes], **changes: Any) -> dict[str, bytes]:
    """The files with a manifest that agrees with them, signed by the log: what its operator could forge."""
    old = bundle.Manifest.decode(files[bundle.MANIFEST])
    rest = {path: content for path, content in files.items() if path not in (bundle.MANIFEST, bundle.SEAL)}
    entries = tuple(bundle.File(path, len(rest[path]), canonical.digest(rest[path])) for path in sorted(rest))
    manifest = replace(old, files=entries, **changes)
    seal = bundle.sign(manifest.statement(), testing.log_key())
    return {**rest, bundle.MANIFEST: manifest.encode(), bundle.SEAL: seal}


def whole(files: Mapping[str, bytes]) -> bytes:
    return b"".join(archive.blocks({path: Piece.of(content) for path, content in files.items()}))


def packed(files: Mapping[str, bytes], path: Path) -> Path:
    path.write_bytes(whole(files))
    return path


def foreign_tar(path: Path, fill: Callable[[tarfile.TarFile], None], form: int = tarfile.USTAR_FORMAT) -> Path:
    """An archive as another program would write it."""
    with tarfile.open(path, "w", format=form) as tar:
        fill(tar)
    return path


def plain(tar: tarfile.TarFile, name: str, content: bytes = b"x") -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def link(tar: tarfile.TarFile, kind: bytes, name: str = "a", target: str = "/etc/passwd") -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    tar.addfile(info)
