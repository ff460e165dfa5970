"""Attacks 9 to 17: the log's own operator, and everything that can be wrong with notes, tiles and proofs."""

import base64
from collections.abc import Callable
from dataclasses import replace

import pytest

from pruneguard import testing
from pruneguard.audit.report import Level
from pruneguard.ledger import merkle, notes, tiles
from pruneguard.ledger.events import Entry
from tests.attacks.attacker import NOW, TILE, Forger, caught, changed, cosigned, trust
from tests.audit.conftest import Told, listed
from tests.witness.logs import key

CHECKPOINT, WITNESSED, PROOF = "ledger/checkpoint", "ledger/witnessed", "proofs/9.tlog-proof"


def quieter(told: Told) -> Forger:
    """A history in which the alarm had another cause: hashed and signed anew, so that it agrees with itself."""
    forger = Forger(told)
    at = forger.position("alarm.raised")
    data = dict(Entry.decode(forger.entries[at]).event.data)
    forger.change(at, data={**data, "cause": "noise"})
    return forger


def test_09_a_history_that_the_operator_rewrote_and_signed_is_found_by_whoever_held_a_checkpoint(told: Told) -> None:
    files = quieter(told).files()
    caught(files, None)  # its operator signed it: nobody else can tell
    caught(files, Level.ANCHORING, "ledger/checkpoint: its first 29 entries are not those", held=told.ledger.checkpoint)


def test_10_a_split_view_is_found_when_two_auditors_compare_or_share_a_witness(told: Told) -> None:
    other = quieter(told)
    other.act(
        "batch.sealed",
        "monitor",
        {"model": told.story.twin, "batch": told.story.twin},
        model="digits",
        number=1,
        rows=9,
    )
    files = other.files()
    caught(files, Level.ANCHORING, "ledger/checkpoint: its first 29 entries", held=told.ledger.checkpoint)
    seen = listed({**files, WITNESSED: cosigned(told.ledger.checkpoint, 1)})
    caught(seen, Level.ANCHORING, "ledger/witnessed: witnesses saw another history", clock=NOW)
    caught(files, Level.ANCHORING, "ledger/witnessed: your trust policy asks for", trust=trust(1), clock=NOW)


def test_11_another_root_of_the_same_size_is_found(told: Told) -> None:
    files = quieter(told).files()
    assert notes.Checkpoint.parse(notes.Note.parse(files[CHECKPOINT]).text).size == told.ledger.size
    caught(files, Level.ANCHORING, "ledger/checkpoint: its first 29 entries", held=told.ledger.checkpoint)
    caught(listed({**told.files, CHECKPOINT: files[CHECKPOINT]}), Level.FILES, "manifest.json: origin, size and root")


@pytest.mark.parametrize("what", ["size", "root"])
def test_12_an_edited_checkpoint_is_found(told: Told, what: str) -> None:
    note = notes.Note.parse(told.files[CHECKPOINT])
    right = notes.Checkpoint.parse(note.text)
    wrong = replace(right, size=28) if what == "size" else replace(right, root=bytes(32))
    files = {**told.files, CHECKPOINT: notes.Note(wrong.text(), note.signatures).encode()}
    caught(listed(files, size=wrong.size, root=wrong.root.hex()), Level.SIGNATURES, "ledger/checkpoint, bytes")


def test_13_a_line_with_the_right_key_id_and_a_wrong_signature_spoils_the_note(told: Told) -> None:
    note = notes.Note.parse(told.files[CHECKPOINT])
    (own,) = note.signatures
    lying = replace(own, blob=testing.people()["ada"].key.sign(note.text.encode()))
    for signatures in ((lying,), (own, lying), (lying, own)):
        forged = notes.Note(note.text, signatures).encode()
        caught(changed(told, CHECKPOINT, lambda _, forged=forged: forged), Level.SIGNATURES, "ledger/checkpoint, bytes")


def test_14_a_cosignature_of_another_log_is_found(told: Told) -> None:
    note = notes.Note.parse(told.files[CHECKPOINT])
    elsewhere = notes.Note.parse(testing.memory_ledger(origin="elsewhere.example/log").checkpoint)
    moved = notes.cosign(elsewhere, name="w1.example", key=key(1), time=NOW - 60)
    forged = notes.Note(note.text, (*note.signatures, moved)).encode()
    files = listed({**told.files, WITNESSED: forged})
    caught(files, Level.ANCHORING, "ledger/witnessed: ", trust=trust(1), clock=NOW)
    caught(listed({**told.files, WITNESSED: cosigned(told.files[CHECKPOINT], 1)}), None, trust=trust(1), clock=NOW)


def test_15_a_cosignature_with_another_time_or_one_in_the_future_is_found(told: Told) -> None:
    good = notes.Note.parse(cosigned(told.files[CHECKPOINT], 1))
    own, line = good.signatures
    altered = replace(line, blob=(NOW - 59).to_bytes(8) + line.blob[8:])
    forged = notes.Note(good.text, (own, altered)).encode()
    caught(listed({**told.files, WITNESSED: forged}), Level.ANCHORING, "ledger/witnessed: ", trust=trust(1), clock=NOW)
    future = cosigned(told.files[CHECKPOINT], 1, time=NOW + 3_600)
    caught(listed({**told.files, WITNESSED: future}), Level.ANCHORING, "in the future", trust=trust(1), clock=NOW)


def test_16_a_partial_tile_for_a_full_one_and_a_stale_tile_are_found(told: Told) -> None:
    stale = "ledger/tile/0/000.p/28"
    caught(listed({**told.files, stale: told.files[TILE][:-32]}), Level.TREE, f"{stale}: no part of a log of 29")
    caught(listed({**told.files, "ledger/tile/0/000": told.files[TILE]}), Level.TREE, "tile/0/000: no part of a log")
    caught(changed(told, TILE, lambda tile: tile[:-32]), Level.TREE, "ledger/tile/0/000.p/29, bytes")
    swapped = {path: content for path, content in told.files.items() if path != TILE}
    caught(
        listed({**swapped, stale: told.files[TILE][:-32]}), Level.TREE, "ledger/tile/0/000.p/29: this file is missing"
    )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda proof: replace(proof, hashes=(*proof.hashes, bytes(32))),
        lambda proof: replace(proof, hashes=proof.hashes[:-1]),
        lambda proof: replace(proof, hashes=proof.hashes[::-1]),
        lambda proof: replace(proof, index=10),
        lambda proof: replace(proof, index=29),
        lambda proof: replace(proof, checkpoint=empty(proof.checkpoint)),
    ],
    ids=["extra", "missing", "reordered", "another index", "out of range", "size 0"],
)
def test_17_a_proof_that_is_not_exactly_right_is_found(told: Told, spoil: Callable[[tiles.Proof], tiles.Proof]) -> None:
    forged = spoil(tiles.Proof.decode(told.files[PROOF])).encode()
    caught(changed(told, PROOF, lambda _: forged), Level.TREE, f"{PROOF}, bytes")


def empty(note: bytes) -> bytes:
    """The log's signature under the empty tree."""
    checkpoint = notes.Checkpoint.parse(notes.Note.parse(note).text)
    return replace(checkpoint, size=0, root=merkle.EMPTY_ROOT).sign(testing.log_key().key)


def test_17_a_proof_in_another_form_is_found(told: Told) -> None:
    proof = told.files[PROOF]
    first = proof.split(b"\n")[2]
    padded = base64.b64decode(first)
    assert len(padded) == 32
    loose = first[:-2] + bytes([first[-2] + 1]) + first[-1:]  # the same bytes, with other padding bits
    assert base64.b64decode(loose) == padded
    caught(changed(told, PROOF, lambda content: content.replace(first, loose)), Level.TREE, f"{PROOF}, bytes")
    caught(
        changed(told, PROOF, lambda content: content.replace(b"index 9", b"index 09")), Level.TREE, f"{PROOF}, bytes"
    )
