"""Whoever holds the log's key signs what they like; whoever does not, signs nothing."""

import base64
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from pruneguard import canonical, testing
from pruneguard.audit import bundle, signing
from pruneguard.audit.report import Level
from pruneguard.audit.verify import verify
from pruneguard.ledger import dsse, notes
from tests.audit.conftest import Told, listed, packed
from tests.audit.test_verify import failures, refused

ADA = testing.people()["ada"].key


def attestation(told: Told) -> str:
    """The file with the most statements."""
    files = [path for path in told.files if path.startswith(bundle.ATTESTATIONS) and "/runs/" not in path]
    return max(files, key=lambda path: told.files[path].count(b"\n"))


def lines(told: Told) -> list[bytes]:
    return told.files[attestation(told)].splitlines(keepends=True)


def with_lines(told: Told, changed: list[bytes]) -> dict[str, bytes]:
    return listed({**told.files, attestation(told): b"".join(changed)})


def reshaped(line: bytes, **changes: Any) -> bytes:
    """An envelope with other fields, and the signature it had."""
    return canonical.encode({**canonical.decode(line), **changes}) + b"\n"


# -- the manifest


def test_a_manifest_that_the_log_did_not_sign_is_refused(told: Told, tmp_path: Path) -> None:
    manifest = bundle.Manifest.decode(told.files[bundle.MANIFEST])
    seal = dsse.Envelope.sign(manifest.statement(), bundle.STATEMENT_TYPE, keyid=bundle_vkey(told), key=ADA).encode()
    found = refused(packed({**told.files, bundle.SEAL: seal}, tmp_path / "b.tar"), Level.SIGNATURES)
    assert found.startswith("manifest.dsse.json, bytes ")
    assert "the signature is not that of" in found


def bundle_vkey(told: Told) -> str:
    return told.files[bundle.VKEY].decode().strip()


def test_a_manifest_of_another_selection_is_refused(told: Told, tmp_path: Path) -> None:
    """Every file is as the manifest says, which says of the selection what the log did not sign."""
    files = listed(told.files, end="2027-01-01T00:00:00.000000Z")
    assert "another manifest" in refused(
        packed({**files, bundle.SEAL: told.files[bundle.SEAL]}, tmp_path / "b.tar"), Level.SIGNATURES
    )


def test_a_bundle_without_its_seal_is_refused(told: Told, tmp_path: Path) -> None:
    files = {path: content for path, content in told.files.items() if path != bundle.SEAL}
    assert "manifest.dsse.json: this file is missing" in refused(packed(files, tmp_path / "b.tar"), Level.SIGNATURES)


def test_a_seal_in_another_form_is_refused(told: Told, tmp_path: Path) -> None:
    sealed = canonical.decode(told.files[bundle.SEAL])
    for signatures in (
        sealed["signatures"] * 2,
        [{**sealed["signatures"][0], "keyid": "somebody"}],
        [{"keyid": "x", "sig": base64.b64encode(bytes(64)).decode()}, *sealed["signatures"]],
    ):
        seal = canonical.encode({**sealed, "signatures": signatures})
        found = refused(packed({**told.files, bundle.SEAL: seal}, tmp_path / "b.tar"), Level.SIGNATURES)
        assert "not the one form" in found


# -- the checkpoint


def test_a_line_that_nobody_asked_for_below_the_checkpoint_is_refused(told: Told, tmp_path: Path) -> None:
    note = notes.Note.parse(told.files[bundle.CHECKPOINT])
    more = notes.Note(note.text, (*note.signatures, notes.Signature("witness", b"1234", bytes(72)))).encode()
    files = listed({**told.files, bundle.CHECKPOINT: more})
    assert "more than the log's own signature" in refused(packed(files, tmp_path / "b.tar"), Level.SIGNATURES)


def test_a_checkpoint_of_more_entries_than_there_are_files_is_no_work(told: Told, tmp_path: Path) -> None:
    key = testing.log_key()
    note = notes.Checkpoint(key.name, 10**15, bytes(32)).sign(key.key)
    files = listed({**told.files, bundle.CHECKPOINT: note}, size=10**15, root="00" * 32)
    assert "there are not files enough" in refused(packed(files, tmp_path / "b.tar"), Level.FILES)


# -- attestations


def test_an_attestation_of_another_key_is_refused(told: Told, tmp_path: Path) -> None:
    envelope = dsse.Envelope.decode(lines(told)[1].rstrip())
    forged = dsse.Envelope.sign(envelope.payload, bundle.STATEMENT_TYPE, keyid=bundle_vkey(told), key=ADA)
    changed = [lines(told)[0], forged.encode() + b"\n", *lines(told)[2:]]
    found = refused(packed(with_lines(told, changed), tmp_path / "b.tar"), Level.SIGNATURES)
    assert ", line 2: the signature is not that of" in found


def test_an_attestation_of_another_type_is_refused(told: Told, tmp_path: Path) -> None:
    changed = [reshaped(lines(told)[0].rstrip(), payloadType="text/plain"), *lines(told)[1:]]
    assert "of type 'text/plain'" in refused(packed(with_lines(told, changed), tmp_path / "b.tar"), Level.SIGNATURES)


@pytest.mark.parametrize("spoil", [lambda c: c[:-1], lambda c: c + b"\n", lambda c: b"{}\n" + c, lambda c: b"\xff" + c])
def test_a_file_of_attestations_in_another_form_is_refused(told: Told, tmp_path: Path, spoil: Any) -> None:
    files = listed({**told.files, attestation(told): spoil(told.files[attestation(told)])})
    assert attestation(told) in refused(packed(files, tmp_path / "b.tar"), Level.SIGNATURES)


def test_an_attestation_taken_out_is_missed(told: Told, tmp_path: Path) -> None:
    for gone in (0, len(lines(told)) - 1):
        changed = [line for at, line in enumerate(lines(told)) if at != gone]
        report = verify(packed(with_lines(told, changed), tmp_path / "b.tar"))
        assert report.exit_code == 16
        assert "1 of " in failures(report, Level.COMPLETENESS)[0]


def test_an_attestation_put_twice_or_elsewhere_is_refused(told: Told, tmp_path: Path) -> None:
    twice = [*lines(told), lines(told)[0]]
    assert "more than once" in refused(packed(with_lines(told, twice), tmp_path / "b.tar"), Level.ARTEFACTS)
    moved = [*lines(told)[1:], lines(told)[0]]
    assert "not in their order" in refused(packed(with_lines(told, moved), tmp_path / "b.tar"), Level.ARTEFACTS)


def test_a_statement_that_the_log_does_not_lead_to_is_refused(told: Told, tmp_path: Path) -> None:
    """The operator signs praise with the log's own key: no event says so."""
    statement = canonical.decode(dsse.Envelope.decode(lines(told)[0].rstrip()).payload)
    praise = canonical.encode({**statement, "predicate": {"result": "PASSED"}})
    changed = [bundle.sign(praise, testing.log_key()) + b"\n", *lines(told)[1:]]
    found = refused(packed(with_lines(told, changed), tmp_path / "b.tar"), Level.ARTEFACTS)
    assert "line 1: no statement that the log leads to" in found


def test_an_attestation_of_one_model_replayed_for_another_is_refused(told: Told, tmp_path: Path) -> None:
    other = next(
        path
        for path in told.files
        if path.startswith(bundle.ATTESTATIONS) and path != attestation(told) and "/runs/" not in path
    )
    files = listed({**told.files, other: told.files[attestation(told)]})
    assert "no statement that the log leads to" in refused(packed(files, tmp_path / "b.tar"), Level.ARTEFACTS)


# -- models


def test_a_model_that_another_key_signed_is_refused(told: Told, tmp_path: Path) -> None:
    path = bundle.signature_path(told.story.candidate)
    forged = signing.sign(told.story.candidate, ec.derive_private_key(7, ec.SECP256R1()))
    found = refused(packed(listed({**told.files, path: forged}), tmp_path / "b.tar"), Level.SIGNATURES)
    assert "the signature is not this key's" in found


def test_a_signature_of_one_model_moved_to_another_is_refused(told: Told, tmp_path: Path) -> None:
    one, other = (bundle.signature_path(digest) for digest in (told.story.candidate, told.story.twin))
    found = refused(packed(listed({**told.files, one: told.files[other]}), tmp_path / "b.tar"), Level.SIGNATURES)
    assert one in found


@pytest.mark.parametrize("key", [b"", b"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n", bytes(100)])
def test_a_key_that_is_none_is_a_finding_and_no_crash(told: Told, tmp_path: Path, key: bytes) -> None:
    refused(packed(listed({**told.files, bundle.MODEL_KEY: key}), tmp_path / "b.tar"), Level.SIGNATURES)
