"""A bundle of the story, made once, and ways to spoil a copy of it."""

import io
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from pruneguard import canonical, testing
from pruneguard.artifacts import Artifacts
from pruneguard.audit import archive, bundle
from pruneguard.audit.export import contents
from pruneguard.ledger import merkle, notes
from pruneguard.ledger.ledger import Ledger
from pruneguard.ledger.store import Node


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


def tell(folder: Path) -> Told:
    ledger, artifacts = testing.memory_ledger(), Artifacts(str(folder / "artifacts"))
    story = testing.story(ledger, artifacts)
    return Told(ledger, artifacts, story, contents(ledger, artifacts, model=story.model))


def rewritten(told: Told, change: Callable[[list[bytes]], None]) -> dict[str, bytes]:
    """The bundle of a history that the holder of the log's key changed, hashed and signed again."""
    entries = told.ledger.raw(0, told.ledger.size)
    change(entries)
    key, frontier, nodes = testing.log_key(), merkle.Frontier(), list[Node]()
    for entry in entries:
        frontier, known = frontier.grown(merkle.leaf_hash(entry))
        nodes += known
    note = notes.Checkpoint(key.name, frontier.size, frontier.root()).sign(key.key)
    store = testing.MemoryStore(key.verifier.vkey, entries[0], note)
    store.append(entries[1:], nodes[1:], size=frontier.size, checkpoint=note)
    return contents(Ledger(store), told.artifacts, model=told.story.model)


def listed(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files with a manifest that agrees with them: what a forger who knows the format would write."""
    old = bundle.Manifest.decode(files[bundle.MANIFEST])
    rest = {path: content for path, content in files.items() if path != bundle.MANIFEST}
    entries = tuple(bundle.File(path, len(rest[path]), canonical.digest(rest[path])) for path in sorted(rest))
    manifest = bundle.Manifest(old.model, old.origin, old.size, old.root, entries, old.absent)
    return {**rest, bundle.MANIFEST: manifest.encode()}


def packed(files: Mapping[str, bytes], path: Path) -> Path:
    archive.write(files, path)
    return path


def foreign_tar(path: Path, fill: Callable[[tarfile.TarFile], None]) -> Path:
    """An archive as another program would write it."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        fill(tar)
    return path


def plain(tar: tarfile.TarFile, name: str, content: bytes = b"x") -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
