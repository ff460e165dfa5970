"""A whole bundle verifies; and each way to forge one is found, at its level, with its place."""

import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pruneguard import canonical, testing
from pruneguard.audit import bundle
from pruneguard.audit.report import EXIT_CODES, Check, Level, Report
from pruneguard.audit.verify import INTEGRITY, MEANING, verify
from pruneguard.errors import InvalidInputError
from pruneguard.evidence import Estimate, Evidence
from pruneguard.gates import judge
from pruneguard.held import Kept
from pruneguard.ledger import dsse, notes
from pruneguard.ledger.events import PAYLOAD_TYPE, Entry
from pruneguard.verdict import Outcome, Verdict
from tests.audit.conftest import Told, listed, packed, rewritten, whole

ENTRIES = "ledger/tile/entries/000.p/29"
TILE = "ledger/tile/0/000.p/29"


def failures(report: Report, level: Level) -> list[str]:
    return [f"{c.place}: {c.detail}" for c in report.checks if c.level is level and not c.ok]


def refused(path: Path, level: Level) -> str:
    """What the verifier finds at `level`, which must be the first to fail."""
    report = verify(path)
    assert not report.ok
    assert report.guarantee == "none"
    assert report.exit_code == EXIT_CODES[level], [c for c in report.checks if not c.ok]
    found = failures(report, level)
    assert all(check.place for check in report.checks if not check.ok)
    return "\n".join(found)


def position(told: Told, type_: str, **data: Any) -> int:
    """Where the first such event stands."""
    for index in range(told.ledger.size):
        event = told.ledger.entry(index).event
        if event.type == type_ and all(event.data[name] == value for name, value in data.items()):
            return index
    raise AssertionError(type_)


def again(entry: bytes, signer: str | None = None, **changes: Any) -> bytes:
    """An entry with other values, signed anew by its person where it was signed."""
    event = Entry.decode(entry).event
    changed = replace(event, **changes)
    return testing.people()[signer].sign(changed).encode() if signer else changed.encode()


# -- a whole bundle


def test_a_whole_bundle_verifies_at_every_level(told: Told, tmp_path: Path) -> None:
    report = verify(packed(told.files, tmp_path / "b.tar"))
    assert report.ok
    assert report.exit_code == 0
    assert report.guarantee == "self-signed only"
    assert {check.level for check in report.checks} == set(Level)
    assert [check.level for check in report.checks] == sorted((c.level for c in report.checks), key=list(Level).index)
    assert len(report.checks) == len(INTEGRITY) + len(MEANING) + 2
    assert canonical.decode(canonical.encode(report.to_document()))["ok"] is True


def test_nothing_checked_is_not_verified() -> None:
    assert not Report(()).ok
    assert Report(()).exit_code == 10
    assert Report(()).guarantee == "none"


def test_the_exit_code_is_that_of_the_first_level_that_fails() -> None:
    checks = [Check(level, "x", ok=False) for level in reversed(Level)]
    assert [Report(tuple(checks[: n + 1])).exit_code for n in range(7)] == [16, 15, 14, 13, 12, 11, 10]


def test_a_file_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"no\.tar"):
        verify(tmp_path / "no.tar")


# -- every byte counts


@pytest.mark.slow
def test_any_flipped_bit_is_found_with_its_place(told: Told, tmp_path: Path) -> None:
    content = whole(told.files)
    chance = random.Random(20260105)
    path = tmp_path / "b.tar"
    for _ in range(200):
        at, bit = chance.randrange(len(content)), chance.randrange(8)
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])
        report = verify(path)
        assert report.exit_code in (10, 11)
        assert report.guarantee == "none"
        assert not any("cannot be checked" in check.detail for check in report.checks)
        assert all(check.place for check in report.checks if not check.ok)


def test_the_place_of_a_flipped_bit_is_told_to_the_byte_or_the_entry(told: Told, tmp_path: Path) -> None:
    content = bytearray(whole(told.files))
    at = content.index(told.ledger.raw(12, 13)[0]) + 100
    content[at] ^= 1
    path = tmp_path / "b.tar"
    path.write_bytes(content)
    (tree,) = failures(verify(path), Level.TREE)[1:2]
    first, last = map(int, re.findall(r"bytes (\d+) to (\d+)", tree)[0])
    assert tree.startswith("entry 12: ledger/tile/entries")
    assert first <= at <= last < first + 2_000
    content[at] ^= 1
    content[300] ^= 1  # in a header
    path.write_bytes(content)
    assert refused(path, Level.FILES).startswith("byte 300, in the header of VERIFY.md")


# -- files


def changed(told: Told, **changes: bytes | None) -> dict[str, bytes]:
    names = {"tile": TILE, "entries": ENTRIES, "guide": bundle.GUIDE, "manifest": bundle.MANIFEST}
    files = {**told.files}
    for name, content in changes.items():
        if content is None:
            del files[names[name]]
        else:
            files[names[name]] = content
    return files


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda t: {**t.files, "extra.py": b"x"}, "extra.py: the manifest does not list"),
        (lambda t: listed({**t.files, "extra.py": b"x"}), "extra.py: a bundle has no such file"),
        (lambda t: changed(t, guide=None), "VERIFY.md: this file is missing"),
        (lambda t: listed(changed(t, guide=None)), "VERIFY.md: this file is missing"),
        (lambda t: changed(t, guide=b"trust me"), "VERIFY.md, bytes 512 to 519"),
        (lambda t: changed(t, manifest=None), "manifest.json: this file is missing"),
        (lambda t: changed(t, manifest=t.files[bundle.MANIFEST] + b"\n"), "canonical"),
        (
            lambda t: changed(t, manifest=t.files[bundle.MANIFEST].replace(b'"size":29', b'"size":28')),
            "checkpoint says",
        ),
        (lambda t: changed(t, manifest=t.files[bundle.MANIFEST].replace(b"bundle/v1", b"bundle/v2")), "bundle/v1"),
    ],
)
def test_a_content_that_the_manifest_does_not_tell_is_refused(
    told: Told, tmp_path: Path, spoil: Callable[[Told], dict[str, bytes]], found: str
) -> None:
    assert found in refused(packed(spoil(told), tmp_path / "b.tar"), Level.FILES)


# -- signatures


def test_a_checkpoint_that_another_key_signed_is_refused(told: Told, tmp_path: Path) -> None:
    signed = notes.Checkpoint.parse(notes.Note.parse(told.files[bundle.CHECKPOINT]).text)
    files = listed({**told.files, bundle.CHECKPOINT: signed.sign(testing.people()["ada"].key)})
    assert "not signed by" in refused(packed(files, tmp_path / "b.tar"), Level.SIGNATURES)


def test_an_approval_that_the_operator_of_the_log_made_up_is_refused(told: Told, tmp_path: Path) -> None:
    at = position(told, "release.approved", number=2)

    def forge(entries: list[bytes]) -> None:
        event = Entry.decode(entries[at]).event
        otto = testing.people()["otto"].key
        entries[at] = dsse.Envelope.sign(event.encode(), PAYLOAD_TYPE, keyid="", key=otto).encode()

    found = refused(packed(rewritten(told, forge), tmp_path / "b.tar"), Level.SIGNATURES)
    assert found.startswith(f"entry {at}: ")
    assert "the signature is not 'grace''s" in found


def test_an_approval_without_a_signature_is_refused(told: Told, tmp_path: Path) -> None:
    at = position(told, "release.approved", number=2)

    def strip(entries: list[bytes]) -> None:
        entries[at] = Entry.decode(entries[at]).event.encode()

    found = refused(packed(rewritten(told, strip), tmp_path / "b.tar"), Level.SEMANTICS)
    assert "without a signature it must say assurance" in found


# -- tree


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda t: changed(t, entries=t.files[ENTRIES].replace(b"digits", b"digitz", 1)), "entry 7: "),
        (lambda t: changed(t, tile=bytes(32) + t.files[TILE][32:]), "not the hash of the entries below"),
        (lambda t: changed(t, tile=t.files[TILE] + bytes(32)), "not the hash of the entries below"),
        (lambda t: changed(t, tile=None), "missing"),
        (lambda t: {**t.files, "ledger/tile/0/000": t.files[TILE]}, "no part of a log of 29 entries"),
        (
            lambda t: {**t.files, "proofs/10.tlog-proof": t.files["proofs/9.tlog-proof"]},
            "about entry 9 of 29, and its name says otherwise",
        ),
        (
            lambda t: {**t.files, "proofs/0.tlog-proof": t.files["proofs/9.tlog-proof"]},
            "about entry 9 of 29, and its name says otherwise",
        ),
        (lambda t: {**t.files, "proofs/9.tlog-proof": t.files["proofs/9.tlog-proof"] + b"\n"}, "not the proof that"),
    ],
)
def test_what_does_not_lead_to_the_signed_root_is_refused(
    told: Told, tmp_path: Path, spoil: Callable[[Told], dict[str, bytes]], found: str
) -> None:
    assert found in refused(packed(listed(spoil(told)), tmp_path / "b.tar"), Level.TREE)


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda t: changed(t, entries=t.files[ENTRIES] + b"\x00\x00"), "30 entries; expected 29"),
        (lambda t: changed(t, entries=t.files[ENTRIES][:-1]), "does not fit"),
        (lambda t: changed(t, entries=None), "missing"),
    ],
)
def test_entries_that_cannot_be_read_are_refused_where_they_are_first_needed(
    told: Told, tmp_path: Path, spoil: Callable[[Told], dict[str, bytes]], found: str
) -> None:
    path = packed(listed(spoil(told)), tmp_path / "b.tar")
    assert found in refused(path, Level.SIGNATURES)
    assert failures(verify(path), Level.TREE)


# -- anchoring


def test_a_checkpoint_held_from_before_makes_the_guarantee_stronger(fresh: Told, tmp_path: Path) -> None:
    held = tmp_path / "held"
    held.write_bytes(fresh.ledger.checkpoint)
    testing.story(fresh.ledger, fresh.artifacts, model="letters")
    path = packed(told_again(fresh), tmp_path / "b.tar")
    report = verify(path, memory=Kept(held))
    assert report.ok
    assert report.guarantee == "held"


def told_again(told: Told) -> dict[str, bytes]:
    return rewritten(told, lambda entries: None)


def test_a_rewritten_history_is_found_by_who_held_a_checkpoint(told: Told, tmp_path: Path) -> None:
    held = tmp_path / "held"
    held.write_bytes(told.ledger.checkpoint)
    at = position(told, "alarm.raised")

    def hide(entries: list[bytes]) -> None:
        entries[at] = again(entries[at], data={**Entry.decode(entries[at]).event.data, "cause": "noise"})

    path = packed(rewritten(told, hide), tmp_path / "b.tar")
    assert verify(path).ok  # its operator signed it: nobody else can tell
    report = verify(path, memory=Kept(held))
    assert report.exit_code == 13
    assert report.guarantee == "none"
    assert "history was rewritten" in failures(report, Level.ANCHORING)[0]


def test_a_log_shorter_than_the_held_one_is_refused(fresh: Told, tmp_path: Path) -> None:
    path = packed(fresh.files, tmp_path / "b.tar")
    testing.story(fresh.ledger, fresh.artifacts, model="letters")
    held = tmp_path / "held"
    held.write_bytes(fresh.ledger.checkpoint)
    report = verify(path, memory=Kept(held))
    assert report.exit_code == 13
    assert "29 entries" in failures(report, Level.ANCHORING)[0]


def test_a_held_checkpoint_of_another_log_is_refused(told: Told, tmp_path: Path) -> None:
    held = tmp_path / "held"
    held.write_bytes(testing.memory_ledger(origin="elsewhere").checkpoint)
    assert verify(packed(told.files, tmp_path / "b.tar"), memory=Kept(held)).exit_code == 13


# -- semantics: the operator of the log holds its key, rewrites history, and every hash and signature is right


def replaced(at: int, **changes: Any) -> Callable[[list[bytes]], None]:
    def change(entries: list[bytes]) -> None:
        signer = changes.pop("signer", None)
        entries[at] = again(entries[at], signer, **changes)

    return change


def test_a_release_whose_approval_was_taken_out_is_refused(told: Told, tmp_path: Path) -> None:
    at = position(told, "release.approved", number=2)
    path = packed(rewritten(told, lambda entries: entries.pop(at)), tmp_path / "b.tar")
    found = refused(path, Level.SEMANTICS)
    assert "only an approved release takes traffic" in found
    assert f"entry {at + 1}: " in found


def test_an_author_who_approves_is_refused(told: Told, tmp_path: Path) -> None:
    at = position(told, "release.approved", number=2)

    def approve(entries: list[bytes]) -> None:
        event = Entry.decode(entries[at]).event
        entries[at] = testing.people()["ada"].sign(replace(event, actor="ada")).encode()

    found = refused(packed(rewritten(told, approve), tmp_path / "b.tar"), Level.SEMANTICS)
    assert "'ada' is not an approver" in found
    assert "'ada' made this release" in found


def test_a_refused_candidate_recorded_as_passed_is_found_out(told: Told, tmp_path: Path) -> None:
    at = position(told, "verdict.given", passed=False)
    data = {**told.ledger.entry(at).event.data, "passed": True, "objections": {}}
    found = refused(packed(rewritten(told, replaced(at, data=data)), tmp_path / "b.tar"), Level.SEMANTICS)
    assert f"entry {at}: " in found
    assert "recorded with passed True; its evidence leads to False" in found
    assert "recorded with objections {}" in found


def test_a_verdict_that_its_evidence_does_not_lead_to_is_found_out(fresh: Told, tmp_path: Path) -> None:
    """Document, digest and event agree with each other; only deciding again tells."""
    at = position(fresh, "verdict.given", passed=False)
    event = fresh.ledger.entry(at).event
    no = Verdict.decode(fresh.artifacts.get(event.refs["verdict"]))
    findings = tuple(
        type(f)(f.rule, f.gate, Outcome.PASSED, f.observed, f.required, f.flip, f.remedy) for f in no.findings
    )
    yes = Verdict(no.policy, no.candidate, no.twin, no.data, no.evidence, findings)
    refs = {**event.refs, "verdict": fresh.artifacts.put(yes.encode())}
    data = {**event.data, "passed": True, "objections": {}}
    found = refused(packed(rewritten(fresh, replaced(at, refs=refs, data=data)), tmp_path / "b.tar"), Level.SEMANTICS)
    assert "rule 'as good as the twin': the verdict says passed" in found
    assert "its evidence says failed" in found


def test_evidence_that_was_made_better_afterwards_is_found_out(fresh: Told, tmp_path: Path) -> None:
    at = position(fresh, "verdict.given", passed=False)
    event = fresh.ledger.entry(at).event
    worse = Evidence.decode(fresh.artifacts.get(event.refs["evidence"][1]))
    better = Evidence(worse.subject, worse.twin, worse.data, {**worse.measurements, "quality.accuracy": Estimate(0.99)})
    refs = {**event.refs, "evidence": [event.refs["evidence"][0], fresh.artifacts.put(better.encode())]}
    found = refused(packed(rewritten(fresh, replaced(at, refs=refs)), tmp_path / "b.tar"), Level.SEMANTICS)
    assert "the verdict names evidence" in found


@pytest.mark.parametrize(("context", "said"), [({"split": "gate"}, "'gate'"), ({}, "None")])
def test_a_verdict_of_the_search_relabelled_for_release_is_found_out(
    fresh: Told, tmp_path: Path, context: dict[str, str], said: str
) -> None:
    at = position(fresh, "verdict.given", passed=True)
    event = fresh.ledger.entry(at).event
    documents = [Evidence.decode(fresh.artifacts.get(digest)) for digest in event.refs["evidence"]]
    (data,) = (e for e in documents if e.subject != event.refs["model"])
    (measured,) = (e for e in documents if e.subject == event.refs["model"])
    evidence = [data, Evidence(measured.subject, measured.twin, measured.data, measured.measurements, context)]
    subjects = {"candidate": event.refs["model"], "twin": event.refs["parent"], "data": event.refs["data"]}
    verdict = judge(testing.POLICY, evidence, **subjects)
    names = {
        "evidence": [fresh.artifacts.put(e.encode()) for e in evidence],
        "verdict": fresh.artifacts.put(verdict.encode()),
    }
    change = replaced(at, refs={**event.refs, **names})
    found = refused(packed(rewritten(fresh, change), tmp_path / "b.tar"), Level.SEMANTICS)
    assert "recorded for the split 'release'" in found
    assert f"was measured on {said}" in found


def test_a_policy_adopted_on_laxer_terms_than_it_states_is_found_out(fresh: Told, tmp_path: Path) -> None:
    at = position(fresh, "policy.adopted")
    data = {**fresh.ledger.entry(at).event.data, "on_decay": "notify", "version": 7}
    change = replaced(at, data=data, signer="grace")
    found = refused(packed(rewritten(fresh, change), tmp_path / "b.tar"), Level.SEMANTICS)
    assert "adopted with version 7; the policy's document says 1" in found
    assert "on_decay 'notify'" in found


def test_a_verdict_whose_evidence_is_gone_is_not_verified(told: Told, tmp_path: Path) -> None:
    at = position(told, "verdict.given", passed=True)
    path = bundle.document_path(told.ledger.entry(at).event.refs["evidence"][1])
    files = listed({name: content for name, content in told.files.items() if name != path})
    found = refused(packed(files, tmp_path / "b.tar"), Level.SEMANTICS)
    assert f"entry {at}: " in found
    assert "cannot be decided again: this file is missing" in found


def test_a_hostile_document_is_a_finding_and_no_crash(fresh: Told, tmp_path: Path) -> None:
    at = position(fresh, "verdict.given", passed=False)
    event = fresh.ledger.entry(at).event
    good = canonical.decode(fresh.artifacts.get(event.refs["evidence"][1]))
    for measurements in (
        {"quality.accuracy": {"kind": "estimate", "value": 1, "low": "a", "high": [], "n": {}, "unit": 3}},
        7,
    ):
        hostile = fresh.artifacts.put(canonical.encode({**good, "measurements": measurements}))
        refs = {**event.refs, "evidence": [event.refs["evidence"][0], hostile]}
        refused(packed(rewritten(fresh, replaced(at, refs=refs)), tmp_path / "b.tar"), Level.SEMANTICS)


# -- artefacts


def test_a_document_that_is_not_what_the_event_names_is_refused(told: Told, tmp_path: Path) -> None:
    at = position(told, "drift.reported")
    path = bundle.document_path(told.ledger.entry(at).event.refs["report"])
    files = listed({**told.files, path: b"all is well"})
    assert path in refused(packed(files, tmp_path / "b.tar"), Level.ARTEFACTS)


def test_a_document_that_is_silently_left_out_is_missed(told: Told, tmp_path: Path) -> None:
    at = position(told, "drift.reported")
    path = bundle.document_path(told.ledger.entry(at).event.refs["report"])
    files = listed({name: content for name, content in told.files.items() if name != path})
    report = verify(packed(files, tmp_path / "b.tar"))
    assert not report.ok
    assert f"{path}: this file is missing; entry {at}: " in "\n".join(failures(report, Level.COMPLETENESS))


def test_a_document_that_nobody_names_is_refused(told: Told, tmp_path: Path) -> None:
    path = bundle.document_path(canonical.digest(b"praise"))
    files = listed({**told.files, path: b"praise"})
    assert "nothing that was selected asks" in refused(packed(files, tmp_path / "b.tar"), Level.COMPLETENESS)
