"""Notes and checkpoints against Tessera's log and the Go checksum database; and what must not pass for one."""

import base64
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pruneguard.errors import IntegrityError, InvalidInputError
from pruneguard.ledger import notes

LOG = Path(__file__).parents[1] / "assets/tessera/log"
# Published by transparency-dev/tessera for its test log.
VKEY = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"
SKEY = "PRIVATE+KEY+example.com/log/testdata+33d7b496+AeymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eg"
# Published by golang.org/x/mod/sumdb/note.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
CHECKPOINT = notes.Checkpoint("log.example/x", 3, bytes(32))


def tessera_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(base64.b64decode(SKEY.split("+", 4)[4])[1:])


@pytest.mark.parametrize("size", range(16))
def test_checkpoints_are_byte_for_byte_those_of_tessera(size: int) -> None:
    published = (LOG / f"checkpoint.{size}").read_bytes()
    checkpoint = notes.open_checkpoint(published, notes.Verifier.parse(VKEY))
    assert checkpoint.size == size
    assert checkpoint.sign(tessera_key()) == published


def test_a_verifier_key_survives_its_text() -> None:
    verifier = notes.verifier_of("example.com/log/testdata", tessera_key())
    assert verifier.vkey == VKEY
    assert notes.Verifier.parse(VKEY) == verifier


def test_the_go_checksum_databases_example_is_accepted() -> None:
    note = notes.Note.parse(PETER_NOTE)
    assert note.signed_by(notes.Verifier.parse(PETER)) is not None
    assert note.encode() == PETER_NOTE


def test_signatures_of_strangers_are_ignored() -> None:
    stranger = notes.sign(CHECKPOINT.text(), name="stranger", key=Ed25519PrivateKey.generate()).signatures
    ours = notes.Note.parse(CHECKPOINT.sign(KEY))
    note = notes.Note(ours.text, (*stranger, *ours.signatures))
    assert notes.open_checkpoint(note.encode(), notes.verifier_of(CHECKPOINT.origin, KEY)) == CHECKPOINT
    with pytest.raises(IntegrityError, match="not signed by"):
        notes.open_checkpoint(notes.Note(ours.text, stranger).encode(), notes.verifier_of(CHECKPOINT.origin, KEY))


def test_a_known_key_id_over_a_wrong_signature_spoils_the_note() -> None:
    signed = CHECKPOINT.sign(KEY)
    forged = signed.replace(b"\n3\n", b"\n4\n")
    with pytest.raises(IntegrityError, match="does not match"):
        notes.open_checkpoint(forged, notes.verifier_of(CHECKPOINT.origin, KEY))


def test_another_key_with_the_same_id_is_not_the_log() -> None:
    """The id is four bytes and can be hit: the line must verify, not just name it."""
    verifier = notes.verifier_of(CHECKPOINT.origin, KEY)
    other = Ed25519PrivateKey.generate()
    line = notes.Signature(verifier.name, verifier.keyid, other.sign(CHECKPOINT.text().encode()))
    with pytest.raises(IntegrityError, match="does not match"):
        notes.open_checkpoint(notes.Note(CHECKPOINT.text(), (line,)).encode(), verifier)


def test_a_checkpoint_of_another_log_is_not_ours_though_our_key_signed_it() -> None:
    note = notes.sign(notes.Checkpoint("other.example/y", 3, bytes(32)).text(), name="log.example/x", key=KEY)
    with pytest.raises(IntegrityError, match=re.escape("other.example/y")):
        notes.open_checkpoint(note.encode(), notes.verifier_of("log.example/x", KEY))


def test_a_witness_says_when_it_saw_a_checkpoint() -> None:
    log = notes.Note.parse(CHECKPOINT.sign(KEY))
    seen = notes.cosign(log, name="witness.example", key=KEY, time=1_700_000_000)
    witness = notes.Verifier("witness.example", notes.COSIGNATURE, KEY.public_key().public_bytes_raw())
    note = notes.Note.parse(notes.Note(log.text, (*log.signatures, seen)).encode())
    assert (found := note.signed_by(witness)) is not None
    assert found.time == 1_700_000_000
    later = notes.Signature(seen.name, seen.keyid, (1_700_000_001).to_bytes(8) + seen.blob[8:])
    with pytest.raises(IntegrityError):
        notes.Note(log.text, (later,)).signed_by(witness)


@pytest.mark.parametrize("name", ["", "two words", "a+b", "line\nbreak", "narrow\u2003space", "bell\x07"])
def test_a_name_that_could_forge_a_line_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError):
        notes.sign("text\n", name=name, key=KEY)


@pytest.mark.parametrize("text", ["no newline", "tab\there\n", "carriage\rreturn\n", "nul\x00\n"])
def test_a_text_that_a_note_cannot_carry_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        notes.sign(text, name="x", key=KEY)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda note: note[:-1],
        lambda note: note.replace(b"\n\n", b"\n"),
        lambda note: note.replace("—".encode(), b"-"),
        lambda note: note.replace(b" log", b"  log"),
        lambda note: note + b"\n",
        lambda note: note[:-2] + b"\n",
        lambda note: note + b"\xff\n",
        lambda note: note[: note.index(b"\n\n") + 2],
        lambda note: note + note.split(b"\n\n")[1] * 101,
    ],
)
def test_what_is_not_exactly_a_note_is_refused(spoil) -> None:
    with pytest.raises(InvalidInputError):
        notes.Note.parse(spoil(CHECKPOINT.sign(KEY)))


@pytest.mark.parametrize(
    "text",
    [
        "log\n3\n",
        "log\n03\n" + base64.b64encode(bytes(32)).decode() + "\n",
        "log\n-1\n" + base64.b64encode(bytes(32)).decode() + "\n",
        "log\n3\n" + base64.b64encode(bytes(31)).decode() + "\n",
        "log\n3\n" + base64.b64encode(bytes(32)).decode()[:-2] + "B=\n",  # other padding bits, same bytes
        "\n3\n" + base64.b64encode(bytes(32)).decode() + "\n",
        "log\n3\n" + base64.b64encode(bytes(32)).decode() + "\n\nmore\n",
    ],
)
def test_what_is_not_exactly_a_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        notes.Checkpoint.parse(text)


def test_extension_lines_are_kept() -> None:
    checkpoint = notes.Checkpoint("log", 3, bytes(32), ("extra 1", "extra 2"))
    assert notes.Checkpoint.parse(checkpoint.text()) == checkpoint


def test_a_vkey_whose_id_is_another_keys_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="key id"):
        notes.Verifier.parse(VKEY.replace("33d7b496", "33d7b497"))


# C2SP signed-note, "Example".
FOO = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
FOO_NOTE = (
    "This is an example message.\n\n— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()


def test_the_specifications_example_is_accepted() -> None:
    assert notes.Note.parse(FOO_NOTE).signed_by(notes.Verifier.parse(FOO)) is not None


def test_a_note_may_hold_every_character_that_the_format_allows() -> None:
    note = notes.sign(
        "delete \x7f, next line \x85\nempty line below\n\n\N{EM DASH} not a signature\n", name="x", key=KEY
    )
    assert notes.Note.parse(note.encode()) == note
    assert note.signed_by(notes.verifier_of("x", KEY)) is not None


@pytest.mark.parametrize("at", [0, 1])
def test_every_line_that_claims_to_be_ours_must_be(at: int) -> None:
    ours = notes.Note.parse(CHECKPOINT.sign(KEY))
    lines = [ours.signatures[0]]
    lines.insert(at, notes.Signature(ours.signatures[0].name, ours.signatures[0].keyid, bytes(64)))
    with pytest.raises(IntegrityError, match="does not match"):
        notes.Note(ours.text, tuple(lines)).signed_by(notes.verifier_of(CHECKPOINT.origin, KEY))


MLDSA = notes.new_mldsa_key()


def cosigned(key, *, name: str = "witness.example", time: int = 1_700_000_000) -> tuple[notes.Note, notes.Verifier]:
    log = notes.Note.parse(CHECKPOINT.sign(KEY))
    line = notes.cosign(log, name=name, key=key, time=time)
    return notes.Note.parse(notes.Note(log.text, (*log.signatures, line)).encode()), notes.cosigner_of(name, key)


@pytest.mark.parametrize("key", [KEY, MLDSA], ids=["Ed25519", "ML-DSA-44"])
def test_a_cosignature_holds_for_its_time_its_text_and_its_witness_alone(key) -> None:
    note, witness = cosigned(key)
    line = note.signatures[-1]
    assert note.signed_by(witness) == line
    assert notes.Verifier.parse(witness.vkey) == witness
    blobs = {
        "later": (line.time + 1).to_bytes(8) + line.blob[8:],
        "no moment": bytes(8) + line.blob[8:],
        "beyond time": (2**63).to_bytes(8) + line.blob[8:],
        "shorter": line.blob[:-1],
        "longer": line.blob + b"\0",
        "only a time": line.blob[:8],
        "nothing": b"",
    }
    assert [what for what, blob in blobs.items() if witness.verifies(note.text, blob)] == []
    for text in (
        note.text.replace("\n3\n", "\n4\n"),
        note.text.replace("log.", "lag."),
        "log.example/x\nno checkpoint\n",
    ):
        assert not witness.verifies(text, line.blob)
    other = notes.Verifier("other.example", witness.kind, witness.public_key)
    # An Ed25519 cosignature does not commit to its witness's name, which is why a key may serve one witness only.
    assert other.verifies(note.text, line.blob) == (witness.kind == notes.COSIGNATURE)


def test_what_an_mldsa_witness_signs_is_the_structure_of_the_specification() -> None:
    note, witness = cosigned(MLDSA, time=7)
    name, origin = b"witness.example", CHECKPOINT.origin.encode()
    message = b"subtree/v1\n\0" + bytes([len(name)]) + name + (7).to_bytes(8) + bytes([len(origin)]) + origin
    message += (0).to_bytes(8) + (3).to_bytes(8) + CHECKPOINT.root
    blob = note.signatures[-1].blob
    assert (len(blob), len(witness.public_key), witness.kind) == (8 + 2420, 1312, 6)
    MLDSA.public_key().verify(blob[8:], message)


def test_an_mldsa_cosignature_does_not_cover_extension_lines() -> None:
    """Which is why a log should have none; the log's own signature covers them."""
    note, witness = cosigned(MLDSA)
    assert witness.verifies(note.text + "extension\n", note.signatures[-1].blob)


@pytest.mark.parametrize("key", [KEY, MLDSA], ids=["Ed25519", "ML-DSA-44"])
def test_only_a_checkpoint_is_cosigned(key) -> None:
    note = notes.sign("something else\n", name="log.example/x", key=KEY)
    with pytest.raises(InvalidInputError):
        notes.cosign(note, name="witness.example", key=key, time=1)
    with pytest.raises(InvalidInputError):
        notes.cosign(notes.Note.parse(CHECKPOINT.sign(KEY)), name="witness.example", key=key, time=2**63)


def test_a_name_too_long_for_the_structure_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="1 to 255"):
        cosigned(MLDSA, name="x" * 256)


def test_a_key_without_a_point_on_the_curve_verifies_nothing() -> None:
    nowhere = notes.Verifier("x", notes.ED25519, b"\x02" + bytes(31))
    assert not nowhere.verifies("text\n", bytes(64))


@pytest.mark.parametrize("kind", [0, 2, 3, 5, 7, 255])
def test_a_key_of_another_type_is_refused(kind: int) -> None:
    with pytest.raises(InvalidInputError, match="key type"):
        notes.Verifier("x", kind, bytes(32))


def test_a_signature_line_with_a_space_that_looks_like_none_is_refused() -> None:
    with pytest.raises(InvalidInputError):
        notes.parse_signature("\N{EM DASH} a\N{NO-BREAK SPACE}b AAAAAAA=")


def test_a_line_of_another_name_with_our_keys_id_is_a_strangers() -> None:
    ours = notes.Note.parse(CHECKPOINT.sign(KEY))
    line = notes.Signature("stranger", ours.signatures[0].keyid, bytes(64))
    assert notes.Note(ours.text, (line,)).signed_by(notes.verifier_of(CHECKPOINT.origin, KEY)) is None
