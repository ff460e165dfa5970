"""What was derived, what was left out, what was dropped, and what answered."""

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from policies.framework import load_frameworks
from pruneguard import canonical, held, testing
from pruneguard.audit import views
from pruneguard.audit.report import Level
from pruneguard.audit.verify import verify
from pruneguard.comparison import Aspect, Comparison
from pruneguard.errors import InvalidInputError
from pruneguard.ledger.events import Entry, Event
from pruneguard.ledger.ledger import Ledger
from pruneguard.streams import Tally
from tests.audit.conftest import Told, contents, exported, listed, packed, rewritten, stored
from tests.audit.test_verify import again, failures, position, refused

DERIVED = [
    "compliance/nist-ai-rmf/controls.csv",
    "compliance/nist-ai-rmf/report.html",
    "compliance/iso-42001/oscal-catalog.json",
    "compliance/eu-ai-act/oscal-assessment-results.json",
    "keys/people.json",
]
BROUGHT = ["VERIFY.md", "tools/verify.py"]


def without(told: Told, path: str) -> dict[str, bytes]:
    return listed({name: content for name, content in told.files.items() if name != path})


# -- derived files


@pytest.mark.parametrize("path", DERIVED)
def test_a_derived_file_that_says_something_else_is_refused(told: Told, tmp_path: Path, path: str) -> None:
    content = told.files[path]
    middle = len(content) // 2
    changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    for spoilt in (changed, content + b" ", content[:-1], b""):
        found = refused(packed(listed({**told.files, path: spoilt}), tmp_path / "b.tar"), Level.ARTEFACTS)
        assert found.startswith(f"{path}, bytes ")


@pytest.mark.parametrize("path", BROUGHT)
def test_a_tool_of_another_release_is_no_fault_and_is_told(told: Told, tmp_path: Path, path: str) -> None:
    files = listed({**told.files, path: told.files[path] + b"\n"})
    report = verify(packed(files, tmp_path / "b.tar"))
    assert report.ok
    assert f"{path}: not this release's; take them from where you trust them" in report.unchecked


@pytest.mark.parametrize("path", [*DERIVED, *BROUGHT, "ledger/log.vkey", "frameworks/iso-42001.json"])
def test_a_file_that_is_left_out_is_missed(told: Told, tmp_path: Path, path: str) -> None:
    report = verify(packed(without(told, path), tmp_path / "b.tar"))
    assert not report.ok
    assert any(path in check.place for check in report.checks if not check.ok)


def test_what_belongs_to_each_version_is_missed(told: Told, tmp_path: Path) -> None:
    mine = f"models/{told.story.candidate.removeprefix('sha256:')}/"
    paths = sorted(path for path in told.files if path.startswith(mine))
    assert len(paths) == 3
    for path in paths:
        assert f"{path}: this file is missing" in refused(
            packed(without(told, path), tmp_path / "b.tar"), Level.COMPLETENESS
        )


def test_a_proof_that_is_left_out_is_missed(told: Told, tmp_path: Path) -> None:
    found = refused(packed(without(told, "proofs/9.tlog-proof"), tmp_path / "b.tar"), Level.COMPLETENESS)
    assert found.startswith("proofs/9.tlog-proof: this file is missing; entry 9: ")


@pytest.mark.parametrize(
    "path", ["models/install.py", "data/rows.csv", "keys/spare.json", "compliance/praise.html", "attestations/x.jsonl"]
)
def test_a_file_that_nothing_asks_for_is_refused(told: Told, tmp_path: Path, path: str) -> None:
    report = verify(packed(listed({**told.files, path: b""}), tmp_path / "b.tar"))
    assert f"{path}: nothing that was selected asks for this file" in "\n".join(failures(report, Level.COMPLETENESS))


def test_views_of_another_version_are_named_as_such(told: Told, tmp_path: Path) -> None:
    files = listed(told.files, views=views.VERSION + 1)
    assert "use that of the release" in refused(packed(files, tmp_path / "b.tar"), Level.ARTEFACTS)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b'{"kind":"framework/v1"}', b"\xff", b"[" * 100_000, b'{"kind":"framework/v1","name":[]}'],
)
def test_a_framework_that_is_none_is_a_finding_and_no_crash(told: Told, tmp_path: Path, content: bytes) -> None:
    files = listed({**told.files, "frameworks/iso-42001.json": content})
    refused(packed(files, tmp_path / "b.tar"), Level.ARTEFACTS)


# -- the selection


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"left_out": {"entries": 3, "decisions": 0}}, "leaves out"),
        ({"absent": {"sha256:" + "0" * 64: "lost"}}, "which no selected entry names"),
        ({"end": "2026-01-05T09:20:00.000000Z"}, "leaves out"),
        ({"frameworks": ("iso-42001", "nist-ai-rmf")}, "frameworks/eu-ai-act.json"),
    ],
)
def test_a_manifest_that_selects_otherwise_than_the_bundle_is_refused(
    told: Told, tmp_path: Path, changes: dict[str, Any], found: str
) -> None:
    report = verify(packed(listed(told.files, **changes), tmp_path / "b.tar"))
    assert report.exit_code in (15, 16)
    assert found in "\n".join(failures(report, Level.COMPLETENESS))


@pytest.mark.parametrize(
    "changes",
    [
        {"start": "yesterday"},
        {"end": "2026-01-05"},
        {"left_out": []},
        {"left_out": {"entries": "many"}},
        {"frameworks": (7,)},
        {"absent": {"sha256:0": None}},
        {"views": True},
        {"model": None},
    ],
)
def test_a_manifest_with_fields_of_another_kind_is_refused(told: Told, tmp_path: Path, changes: dict[str, Any]) -> None:
    assert "malformed manifest" in refused(packed(listed(told.files, **changes), tmp_path / "b.tar"), Level.FILES)


def test_a_bundle_of_a_span_says_what_it_leaves_out(told: Told, tmp_path: Path) -> None:
    end = told.ledger.entry(position(told, "release.approved", number=2)).event.time
    report = verify(exported(told, tmp_path / "b.tar", end=end))
    assert report.ok
    assert any("outside the span" in what for what in report.unchecked)


def test_a_model_that_the_log_does_not_know_is_refused(told: Told, tmp_path: Path) -> None:
    files = listed(told.files, model="nobody")
    assert "the log knows no model 'nobody'" in refused(packed(files, tmp_path / "b.tar"), Level.SEMANTICS)


# -- bodies


def test_a_body_that_retention_did_not_drop_is_missed(told: Told, tmp_path: Path) -> None:
    """The hash stays right, and so do root and proofs: only the words are gone."""
    at = position(told, "batch.sealed")
    store = stored(told.ledger.raw(0, told.ledger.size))
    store.drop_bodies([(at, at + 1)])
    files = contents(Ledger(store), told.artifacts, model="digits")
    report = verify(packed(files, tmp_path / "b.tar"))
    assert report.exit_code == 16
    assert report.absent == 1
    assert f"entries {at} to {at} have no body, and no retention says why" in failures(report, Level.COMPLETENESS)[0]


def test_bodies_that_retention_dropped_are_counted_and_no_fault(rich: Told, tmp_path: Path) -> None:
    report = verify(packed(rich.files, tmp_path / "b.tar"))
    assert report.ok
    assert report.absent > 400


def test_a_dropped_entry_that_was_another_does_not_lead_to_the_root(rich: Told, tmp_path: Path) -> None:
    """Where there is no body the tile has the last word; it must lead to the root all the same."""
    path = "ledger/tile/0/000"
    at = rich.ledger.raw(0, 256).index(b"")
    tile = bytearray(rich.files[path])
    tile[32 * at] ^= 1
    found = refused(packed(listed({**rich.files, path: bytes(tile)}), tmp_path / "b.tar"), Level.TREE)
    assert "its root is not the one" in found


def test_a_body_put_back_where_one_was_dropped_is_refused(rich: Told, tmp_path: Path) -> None:
    entries = rich.ledger.raw(0, 256)
    entries[entries.index(b"")] = b"{}"
    content = b"".join(len(entry).to_bytes(2) + entry for entry in entries)
    report = verify(packed(listed({**rich.files, "ledger/tile/entries/000": content}), tmp_path / "b.tar"))
    assert "its root is not the one" in "\n".join(failures(report, Level.TREE))


# -- what answered


def sealed(told: Told, number: int, digest: str, **data: Any) -> bytes:
    about = {"model": "digits", "number": number, "rows": 5, **data}
    time = told.ledger.entry(told.ledger.size - 1).event.time
    return Event("batch.sealed", "monitor", about, {"model": digest, "batch": digest}, time=time).encode()


def test_answers_of_a_version_that_the_log_gave_no_traffic_are_found(told: Told, tmp_path: Path) -> None:
    """Proposed and approved, and deployed by hand: nothing in the ledger moved traffic to it."""

    def deploy(entries: list[bytes]) -> None:
        at = position(told, "traffic.shifted", number=2)
        del entries[at:]
        entries.append(sealed(told, 2, told.story.candidate))

    found = refused(packed(rewritten(told, deploy), tmp_path / "b.tar"), Level.COMPLETENESS)
    assert f"{told.story.candidate} answered requests; the log gave it no traffic" in found


def test_a_step_that_its_counts_do_not_lead_to_is_found(told: Told, tmp_path: Path) -> None:
    """A canary that failed every second answer, waved through with counts that the log names itself."""
    at = next(i for i in range(told.ledger.size) if "comparison" in told.ledger.entry(i).event.refs)
    event = told.ledger.entry(at).event
    seen = Comparison.decode(told.artifacts.get(event.refs["comparison"]))
    worse = replace(seen, tallies={Aspect.FAILED: (Tally(9, 200, old=2, new=100),)})
    named = told.artifacts.put(worse.encode())

    def wave_through(entries: list[bytes]) -> None:
        entries[at] = replace(event, refs={**event.refs, "comparison": named}).encode()

    found = refused(packed(rewritten(told, wave_through), tmp_path / "b.tar"), Level.SEMANTICS)
    assert "recorded as go on; the comparison leads to stop: more failed answers" in found


def test_a_framework_that_the_operator_wrote_is_told_by_its_digest(told: Told, tmp_path: Path) -> None:
    """Controls are as good as the file that says what they need, and that file comes from whoever is audited."""
    document = json.loads(load_frameworks()["nist-ai-rmf"])
    for control in document["controls"]:
        control.update({"class": "A", "needs": ["run.started"]})
    content = json.dumps(document).encode()
    report = verify(exported(told, tmp_path / "b.tar", frameworks={"nist-ai-rmf": content}))
    assert report.ok
    (said,) = (what for what in report.unchecked if "frameworks/nist-ai-rmf.json" in what)
    assert canonical.digest(content) in said


def test_a_batch_that_was_left_out_is_missed(told: Told, tmp_path: Path) -> None:
    def more(entries: list[bytes]) -> None:
        entries += [sealed(told, 1, told.story.twin, batch=batch) for batch in (0, 1, 3)]

    found = refused(packed(rewritten(told, more), tmp_path / "b.tar"), Level.COMPLETENESS)
    assert "batch 3 of version 1; expected 2" in found


def test_what_the_auditor_saw_answering_must_have_been_given_traffic(told: Told, tmp_path: Path) -> None:
    path = packed(told.files, tmp_path / "b.tar")
    assert verify(path, answering=[told.story.twin, told.story.candidate]).ok
    report = verify(path, answering=[told.story.twin, told.story.rejected])
    assert report.exit_code == 16
    assert failures(report, Level.COMPLETENESS)[0].startswith(f"{told.story.rejected}: answered requests")
    assert not any("answers requests now" in what for what in report.unchecked)


# -- how much is looked at


def test_the_tree_alone_can_be_asked_for_and_says_so(told: Told, tmp_path: Path) -> None:
    at = position(told, "release.approved", number=2)
    path = packed(rewritten(told, lambda entries: entries.pop(at) and None), tmp_path / "b.tar")
    report = verify(path, tree_only=True)
    assert report.ok
    assert any("only the tree was asked for" in what for what in report.unchecked)
    assert not verify(path).ok


def test_a_verified_bundle_is_remembered_and_a_rewritten_one_found_out(told: Told, tmp_path: Path) -> None:
    shelf = held.Shelf(tmp_path / "held")
    path = packed(told.files, tmp_path / "b.tar")
    assert verify(path, memory=shelf).guarantee == "self-signed only"
    assert verify(path, memory=shelf).guarantee == "held"
    at = position(told, "alarm.raised")

    def hide(entries: list[bytes]) -> None:
        entries[at] = again(entries[at], data={**Entry.decode(entries[at]).event.data, "cause": "noise"})

    report = verify(packed(rewritten(told, hide), tmp_path / "c.tar"), memory=shelf)
    assert report.exit_code == 13
    assert verify(path, memory=shelf).guarantee == "held"


def test_a_bundle_that_fails_is_not_remembered(told: Told, tmp_path: Path) -> None:
    shelf = held.Shelf(tmp_path / "held")
    assert not verify(packed(without(told, "keys/people.json"), tmp_path / "b.tar"), memory=shelf).ok
    assert shelf.find(testing.log_key().verifier) is None


def test_the_report_is_one_document(told: Told, tmp_path: Path) -> None:
    document = verify(packed(told.files, tmp_path / "b.tar")).to_document()
    assert json.loads(canonical.encode(document)) == document
    assert set(document) == {
        "kind",
        "ok",
        "exit_code",
        "guarantee",
        "checks",
        "remarks",
        "unchecked",
        "absent",
        "log",
    }


def test_a_long_log_is_read_in_little_memory(told: Told, tmp_path: Path) -> None:
    """Of an entry stay its hash and its position, not its words."""

    def lengthen(entries: list[bytes]) -> None:
        entries += [sealed(told, 1, told.story.twin, batch=batch, note="x" * 2_000) for batch in range(6_000)]

    path = packed(rewritten(told, lengthen, frameworks={}), tmp_path / "b.tar")
    assert path.stat().st_size > 12_000_000
    tracemalloc.start()
    report = verify(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.ok, [check for check in report.checks if not check.ok]
    assert peak < 9_000_000, f"{peak:,} bytes"


def test_a_folder_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="is no file"):
        verify(tmp_path)
