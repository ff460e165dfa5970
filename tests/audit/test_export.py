"""What goes into a bundle, and that it goes in one way only."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pruneguard import canonical, testing
from pruneguard.artifacts import Artifacts
from pruneguard.audit import archive, bundle
from pruneguard.audit.export import pieces
from pruneguard.audit.selection import moment
from pruneguard.audit.verify import verify
from pruneguard.errors import IntegrityError, InvalidInputError
from pruneguard.ledger import tiles
from pruneguard.ledger.events import TELEMETRY
from tests.audit.conftest import KEYS, Told, contents, exported, tell, whole

SCRIPT = """
import pathlib, sys
from tests.audit.conftest import tell, whole
print(__import__("hashlib").sha256(whole(tell(pathlib.Path(sys.argv[1])).files)).hexdigest())
"""


def manifest(files: dict[str, bytes]) -> bundle.Manifest:
    return bundle.Manifest.decode(files[bundle.MANIFEST])


def paths(files: dict[str, bytes], folder: str) -> set[str]:
    return {path for path in files if path.startswith(folder)}


# -- one form


def test_the_same_selection_gives_the_same_bytes(told: Told, tmp_path: Path) -> None:
    made = {exported(told, tmp_path / name).read_bytes() for name in "abc"}
    assert made == {whole(told.files)}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


@pytest.mark.parametrize(("seed", "zone"), [("1", "Asia/Kathmandu"), ("4242", "America/Caracas")])
def test_another_process_elsewhere_gives_the_same_bytes(told: Told, tmp_path: Path, seed: str, zone: str) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", SCRIPT, tmp_path]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert f"sha256:{done.stdout.strip()}" == canonical.digest(whole(told.files))


def test_an_export_takes_the_place_of_an_older_one(fresh: Told, tmp_path: Path) -> None:
    out = tmp_path / "b.tar"
    before = exported(fresh, out).read_bytes()
    testing.story(fresh.ledger, fresh.artifacts, model="letters")
    assert exported(fresh, out).read_bytes() != before
    assert verify(out).ok


def test_a_document_that_changes_under_the_export_leaves_no_bundle(fresh: Told, tmp_path: Path) -> None:
    artifacts = Fickle(fresh.artifacts)
    with pieces(fresh.ledger, artifacts, keys=KEYS, model="digits") as files:
        artifacts.changed = True
        with pytest.raises(IntegrityError, match="export again"):
            archive.write(archive.blocks(files), tmp_path / "b.tar")


class Fickle:
    """A store whose documents change while they are read."""

    changed = False

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts

    def __contains__(self, digest: str) -> bool:
        return digest in self._artifacts

    def get(self, name: str) -> bytes:
        return self._artifacts.get(name) + b" " * self.changed


# -- what is in it


def test_documents_that_decisions_rest_on_go_in_and_models_stay_out(told: Told) -> None:
    documents = paths(dict(told.files), bundle.DOCUMENTS)
    for event in (told.ledger.entry(index).event for index in range(told.ledger.size)):
        for name in bundle.DOCUMENT_REFS:
            digests = event.refs.get(name, [])
            for digest in [digests] if isinstance(digests, str) else digests:
                assert bundle.document_path(digest) in documents
    for digest in (told.story.twin, told.story.candidate, told.story.rejected):
        assert bundle.document_path(digest) not in documents
        assert digest in told.artifacts


def test_each_decision_has_its_proof_and_nothing_else_has(told: Told) -> None:
    kinds = [told.ledger.entry(index).event.type for index in range(told.ledger.size)]
    expected = {bundle.proof_path(i) for i, kind in enumerate(kinds) if kind in bundle.DECISIONS}
    assert paths(dict(told.files), bundle.PROOFS) == expected
    assert tiles.Proof.decode(told.files[bundle.proof_path(told.story.rolled_back)]).index == told.story.rolled_back


def test_another_models_documents_stay_out(fresh: Told, tmp_path: Path) -> None:
    testing.story(fresh.ledger, fresh.artifacts, model="letters")
    before = paths(contents(fresh.ledger, fresh.artifacts, model="digits"), bundle.DOCUMENTS)
    script = testing.Script(fresh.ledger, fresh.artifacts, "letters")
    report = fresh.artifacts.put(canonical.encode({"kind": "drift", "about": "letters"}))
    script.record("drift.reported", "monitor", {"model": fresh.story.twin, "report": report}, number=1, drifted=1)
    assert paths(contents(fresh.ledger, fresh.artifacts, model="digits"), bundle.DOCUMENTS) == before
    assert bundle.document_path(report) in contents(fresh.ledger, fresh.artifacts, model="letters")
    for model in ("digits", "letters"):
        assert verify(exported(fresh, tmp_path / model, model=model)).ok


def test_what_is_too_large_or_gone_is_named_as_absent(fresh: Told, tmp_path: Path) -> None:
    script = testing.Script(fresh.ledger, fresh.artifacts)
    large = fresh.artifacts.put(bytes(bundle.DOCUMENT_BYTES_MAX + 1))
    gone = canonical.digest(b"never stored")
    for report in (large, gone):
        script.record("drift.reported", "monitor", {"model": fresh.story.twin, "report": report}, number=1, drifted=1)
    absent = manifest(contents(fresh.ledger, fresh.artifacts, model="digits")).absent
    assert set(absent) == {large, gone}
    assert "2000001 bytes" in absent[large]
    assert verify(exported(fresh, tmp_path / "b.tar")).ok


def test_a_log_with_all_that_can_happen_is_exported_and_verified(rich: Told, tmp_path: Path) -> None:
    report = verify(exported(rich, tmp_path / "b.tar"))
    assert report.ok, [check for check in report.checks if not check.ok]
    assert report.absent > 400
    assert report.absent == sum(not body for body in rich.ledger.raw(0, rich.ledger.size))
    assert len(paths(dict(rich.files), "models/")) == 3 * 3  # signature, bill of materials and card of each version


# -- the selection


def span(told: Told, start: int | None, end: int | None) -> dict[str, str | None]:
    """From the time of one entry up to that of another."""
    bounds = {"start": start, "end": end}
    return {name: at if at is None else told.ledger.entry(at).event.time for name, at in bounds.items()}


def first(told: Told, type_: str, **data: object) -> int:
    for index, raw in enumerate(told.ledger.raw(0, told.ledger.size)):
        event = told.ledger.entry(index).event if raw else None
        if event and event.type == type_ and all(event.data[name] == value for name, value in data.items()):
            return index
    raise AssertionError(type_)


def test_a_span_selects_its_decisions_and_what_its_versions_rest_on(rich: Told) -> None:
    """While version 2 was approved and moved to traffic, version 1 answered: both have all they rest on."""
    start, end = first(rich, "release.approved", number=2), first(rich, "release.rolled_back")
    files = contents(rich.ledger, rich.artifacts, model="digits", **span(rich, start, end))
    proven = {tiles.Proof.decode(files[path]).index for path in paths(files, bundle.PROOFS)}
    assert {first(rich, "release.proposed", number=number) for number in (1, 2)} <= proven
    assert first(rich, "release.proposed", number=3) not in proven
    assert first(rich, "release.rolled_back") not in proven  # the end is not part of the span
    assert min(proven) < start
    left_out = manifest(files).left_out
    assert left_out["decisions"] > 10
    assert left_out["entries"] > left_out["decisions"]


@pytest.mark.parametrize(
    ("start", "end"),
    [(None, 12), (12, None), (12, 20), (20, 24), (28, None), (None, None), (0, 12)],
)
def test_every_span_gives_a_bundle_that_verifies(
    told: Told, tmp_path: Path, start: int | None, end: int | None
) -> None:
    out = exported(told, tmp_path / "b.tar", **span(told, start, end))
    report = verify(out)
    assert report.ok, [check for check in report.checks if not check.ok]


def test_the_log_is_whole_whatever_the_span(rich: Told) -> None:
    files = contents(rich.ledger, rich.artifacts, model="digits", **span(rich, 12, 20))
    ledger = paths(files, "ledger/")
    assert {path: files[path] for path in ledger} == {
        path: rich.files[path] for path in paths(dict(rich.files), "ledger/")
    }
    assert len(files) < len(rich.files)


def test_old_telemetry_does_not_come_along_with_a_version(rich: Told) -> None:
    """What a version rests on are decisions; its rows of another time are left out."""
    at = first(rich, "document.attached")
    with pieces(rich.ledger, rich.artifacts, keys=KEYS, model="digits", **span(rich, at, None)) as files:
        left_out = bundle.Manifest.decode(files[bundle.MANIFEST].content()).left_out
    kept = [rich.ledger.entry(i).event for i, raw in enumerate(rich.ledger.raw(0, at)) if raw]
    assert left_out["entries"] >= sum(event.type in TELEMETRY for event in kept)


@pytest.mark.parametrize("names", [[], ["iso-42001"]])
def test_only_the_frameworks_asked_for_are_assessed(told: Told, tmp_path: Path, names: list[str]) -> None:
    frameworks = {name: told.files[bundle.framework_path(name)] for name in names}
    files = contents(told.ledger, told.artifacts, model="digits", frameworks=frameworks)
    assert paths(files, bundle.FRAMEWORKS) == {bundle.framework_path(name) for name in names}
    assert {path.split("/")[1] for path in paths(files, "compliance/")} == set(names)
    assert verify(exported(told, tmp_path / "b.tar", frameworks=frameworks)).ok


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "2026-01-05T09:00:00", "", "2026-01-05 09"])
def test_a_bound_that_leaves_a_doubt_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="expected a day"):
        moment(text)


def test_a_span_that_ends_before_it_starts_is_refused(told: Told, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="is empty"):
        exported(told, tmp_path / "b.tar", **span(told, 12, 12))


# -- what cannot be exported


def test_an_unknown_model_is_refused_and_leaves_no_file(told: Told, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="nobody"):
        exported(told, tmp_path / "b.tar", model="nobody")
    assert not list(tmp_path.iterdir())


def test_a_changed_log_is_not_exported(fresh: Told, tmp_path: Path) -> None:
    store = fresh.ledger.store
    assert isinstance(store, testing.MemoryStore)
    store._entries[7] = store._entries[7].replace(b"digits", b"digitz")
    with pytest.raises(IntegrityError, match="restore a backup"):
        exported(fresh, tmp_path / "b.tar")


def test_only_the_ledgers_own_key_signs_its_bundles(told: Told, tmp_path: Path) -> None:
    stranger = type(KEYS)(testing.log_key("elsewhere"), KEYS.models)
    with pytest.raises(InvalidInputError, match="its ledger's own key"):
        exported(told, tmp_path / "b.tar", keys=stranger)


def test_a_second_ledger_with_the_same_story_gives_the_same_bundle(told: Told, tmp_path: Path) -> None:
    assert whole(tell(tmp_path).files) == whole(told.files)
