"""What goes into a bundle, and that it goes in one way only."""

import tarfile
from pathlib import Path

import pytest

from pruneguard import canonical, testing
from pruneguard.artifacts import Artifacts
from pruneguard.audit import bundle
from pruneguard.audit.export import contents, export
from pruneguard.audit.verify import verify
from pruneguard.errors import IntegrityError, InvalidInputError
from pruneguard.ledger import tiles
from pruneguard.ledger.ledger import Ledger
from tests.audit.conftest import Told


def test_the_same_log_gives_the_same_bytes(told: Told, tmp_path: Path) -> None:
    digests = {export(told.ledger.reopen(), told.artifacts, model="digits", out=tmp_path / name) for name in "abc"}
    assert len(digests) == 1
    assert digests == {canonical.digest((tmp_path / "a").read_bytes())}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_an_export_takes_the_place_of_an_older_one(fresh: Told, tmp_path: Path) -> None:
    out = tmp_path / "b.tar"
    before = export(fresh.ledger, fresh.artifacts, model="digits", out=out)
    testing.story(fresh.ledger, fresh.artifacts, model="letters")
    assert export(fresh.ledger, fresh.artifacts, model="digits", out=out) != before
    assert verify(out).ok


def test_documents_that_decisions_rest_on_go_in_and_models_stay_out(told: Told) -> None:
    documents = {path for path in told.files if path.startswith(bundle.DOCUMENTS)}
    for event in (told.ledger.entry(index).event for index in range(told.ledger.size)):
        for name in ("policy", "verdict", "evidence", "lineage", "report"):
            digests = event.refs.get(name, [])
            for digest in [digests] if isinstance(digests, str) else digests:
                assert bundle.document_path(digest) in documents
    for digest in (told.story.twin, told.story.candidate, told.story.rejected):
        assert bundle.document_path(digest) not in documents
        assert digest in told.artifacts


def test_each_decision_has_its_proof_and_nothing_else_has(told: Told) -> None:
    proofs = {path for path in told.files if path.startswith(bundle.PROOFS)}
    kinds = [told.ledger.entry(index).event.type for index in range(told.ledger.size)]
    assert proofs == {bundle.proof_path(i) for i, kind in enumerate(kinds) if kind in bundle.DECISIONS}
    assert tiles.Proof.decode(told.files[bundle.proof_path(told.story.rolled_back)]).index == told.story.rolled_back


def test_another_models_documents_stay_out(fresh: Told, tmp_path: Path) -> None:
    other = canonical.encode({"kind": "drift", "about": "letters"})
    testing.story(fresh.ledger, fresh.artifacts, model="letters")
    before = set(told_documents(fresh, "digits"))
    script = testing.Script(fresh.ledger, fresh.artifacts, "letters")
    report = fresh.artifacts.put(other)
    script.record("drift.reported", "monitor", {"model": fresh.story.twin, "report": report}, number=1, drifted=True)
    assert set(told_documents(fresh, "digits")) == before
    assert bundle.document_path(report) in told_documents(fresh, "letters")
    for model in ("digits", "letters"):
        export(fresh.ledger, fresh.artifacts, model=model, out=tmp_path / model)
        assert verify(tmp_path / model).ok


def told_documents(told: Told, model: str) -> list[str]:
    files = contents(told.ledger, told.artifacts, model=model)
    return [path for path in files if path.startswith(bundle.DOCUMENTS)]


def test_what_is_too_large_or_gone_is_named_as_absent(fresh: Told, tmp_path: Path) -> None:
    script = testing.Script(fresh.ledger, fresh.artifacts)
    large = fresh.artifacts.put(bytes(bundle.DOCUMENT_BYTES_MAX + 1))
    gone = canonical.digest(b"never stored")
    for report in (large, gone):
        script.record(
            "drift.reported", "monitor", {"model": fresh.story.twin, "report": report}, number=1, drifted=True
        )
    export(fresh.ledger, fresh.artifacts, model="digits", out=tmp_path / "b.tar")
    with tarfile.open(tmp_path / "b.tar") as tar:
        member = tar.extractfile(bundle.MANIFEST)
        assert member is not None
        manifest = bundle.Manifest.decode(member.read())
    assert set(manifest.absent) == {large, gone}
    assert "2000001 bytes" in manifest.absent[large]
    assert verify(tmp_path / "b.tar").ok


def test_an_unknown_model_is_refused_and_leaves_no_file(told: Told, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="nobody"):
        export(told.ledger, told.artifacts, model="nobody", out=tmp_path / "b.tar")
    assert not list(tmp_path.iterdir())


def test_a_changed_log_is_not_exported(fresh: Told, tmp_path: Path) -> None:
    store = fresh.ledger.store
    assert isinstance(store, testing.MemoryStore)
    store._entries[7] = store._entries[7].replace(b"digits", b"digitz")
    with pytest.raises(IntegrityError, match="restore a backup"):
        export(fresh.ledger, fresh.artifacts, model="digits", out=tmp_path / "b.tar")


def test_a_log_of_many_tiles_is_exported_and_verified(tmp_path: Path) -> None:
    ledger, artifacts = testing.memory_ledger(), Artifacts(str(tmp_path / "artifacts"))
    story = testing.story(ledger, artifacts)
    more = [
        testing.Event(
            "batch.sealed", "monitor", {"model": "digits", "number": 1, "rows": n}, {"model": story.twin, "batch": "b"}
        )
        for n in range(700)
    ]
    ledger.record_all(more)
    export(Ledger(ledger.store), artifacts, model="digits", out=tmp_path / "b.tar")
    report = verify(tmp_path / "b.tar")
    assert report.ok, [check for check in report.checks if not check.ok]
