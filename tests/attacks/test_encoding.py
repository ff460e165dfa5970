"""Attacks 21 to 26: bytes that two readers could read in two ways."""

import io
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pruneguard import testing
from pruneguard.audit import archive, bundle
from pruneguard.audit.report import Level
from pruneguard.errors import InvalidInputError
from pruneguard.ledger import dsse, notes
from pruneguard.ledger.events import PAYLOAD_TYPE, Entry
from pruneguard.ledger.keys import LogKey
from tests.attacks.attacker import Forger, appended, caught, changed, entry
from tests.audit.conftest import Told, foreign_tar, link, listed, plain, whole
from tests.ledger.making import raw


def sealed(told: Told) -> bytes:
    """Bytes of an event that could come next."""
    forger = Forger(told)
    return forger.entries[
        forger.act(
            "batch.sealed",
            "monitor",
            {"model": told.story.twin, "batch": told.story.twin},
            model="digits",
            number=1,
            rows=77,
        )
    ]


@pytest.mark.parametrize("place", ["event", "envelope", "manifest"])
def test_21_a_key_that_stands_twice_is_refused(told: Told, place: str) -> None:
    if place == "event":
        doubled = sealed(told).replace(b'"rows":77', b'"rows":7,"rows":77')
        caught(appended(told, doubled), Level.SIGNATURES, entry(29))
    elif place == "envelope":
        doubled = told.ledger.raw(11, 12)[0].replace(b'{"payload":', b'{"payload":"","payload":', 1)
        caught(appended(told, doubled), Level.SIGNATURES, entry(29))
    else:
        manifest = told.files[bundle.MANIFEST].replace(b'"model":', b'"model":"other","model":', 1)
        caught({**told.files, bundle.MANIFEST: manifest}, Level.FILES, "manifest.json, bytes")


@pytest.mark.parametrize(
    "number", [b"NaN", b"Infinity", b"-Infinity", b"1e400", b"9007199254740993", b"77.0", b"7.7e1", b"1E2"]
)
def test_22_a_number_that_is_none_or_does_not_fit_or_has_two_forms_is_refused(told: Told, number: bytes) -> None:
    caught(appended(told, sealed(told).replace(b'"rows":77', b'"rows":' + number)), Level.SIGNATURES, entry(29))


def test_23_two_forms_of_one_text_and_names_that_look_alike_are_refused(told: Told) -> None:
    noted = sealed(told).replace(b'"rows":77', b'"note":"\xc3\xa9","rows":77')
    caught(appended(told, noted.replace(b"\xc3\xa9", b"e\xcc\x81")), Level.SIGNATURES, f"{entry(29)}.*NFC")
    for actor in ("gr\u0430ce", "Grace", "grace "):  # the first with a Cyrillic letter
        forger = Forger(told)
        at = forger.register(actor, "approver")
        caught(forger.files(), Level.SEMANTICS, entry(at))
    for actor, other in (("gr4ce", ""), ("g.race", "twin"), ("m0nitor", "twin"), ("gra_ce", "twin")):
        forger = Forger(told)
        at = forger.register(actor, "approver")
        caught(forger.files(), Level.SEMANTICS if other else None, entry(at))


@pytest.mark.parametrize(
    "name",
    ["evil\nlog", "evil log", "evil+log", "evil\u2003log", "evil\n\n\u2014 x AAAAAAAA", "", "evil\rlog", "evil\x00"],
)
def test_24_a_name_that_could_be_read_as_another_line_of_a_note_is_refused(told: Told, name: str) -> None:
    with pytest.raises(InvalidInputError):
        _ = LogKey(name, testing.log_key().key).verifier
    honest = testing.log_key().verifier
    vkey = honest.vkey.replace(honest.name, name).encode() + b"\n"
    caught(changed(told, bundle.VKEY, lambda _: vkey), Level.SIGNATURES, "ledger/log.vkey, bytes")


def test_24_a_signature_line_inside_the_text_signs_nothing(told: Told) -> None:
    note = notes.Note.parse(told.files[bundle.CHECKPOINT])
    injected = notes.Note(note.text + note.signatures[0].encode() + "\n" + "x\n", note.signatures).encode()
    caught(changed(told, bundle.CHECKPOINT, lambda _: injected), Level.FILES, "ledger/checkpoint, bytes")


@pytest.mark.parametrize(
    "loosen",
    [
        lambda text: text.replace("+", "-").replace("/", "_"),
        lambda text: text.rstrip("="),
        lambda text: text + "\n",
        lambda text: text[:40] + " " + text[40:],
        lambda text: (
            text[:-3] + chr(ord(text[-3]) + 1) + "=="
            if text.endswith("==")
            else text[:-2] + chr(ord(text[-2]) + 1) + "="
        ),
    ],
    ids=["url-safe", "unpadded", "newline", "space", "padding bits"],
)
def test_25_base64_in_another_form_is_refused(told: Told, loosen: Callable[[str], str]) -> None:
    approval = told.ledger.raw(11, 12)[0]
    signature = approval.split(b'"sig":"')[1].split(b'"')[0].decode()
    other = loosen(signature)
    assert other != signature
    quoted = other.replace("\n", "\\n").encode()
    caught(appended(told, approval.replace(signature.encode(), quoted)), Level.SIGNATURES, entry(29))


@pytest.mark.parametrize(
    "reform",
    [
        lambda text: text.replace(b'"v":1', b'"v": 1'),
        lambda text: text.replace(b'"v":1', b'"v":1.0'),
        lambda text: text.replace(b"grace", b"gr\\u0061ce"),
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text + b"{}",
        lambda text: text.replace(b'{"actor":"grace",', b"{").replace(b'"v":1', b'"v":1,"actor":"grace"'),
    ],
    ids=["space", "number", "escape", "byte order mark", "rest", "order"],
)
def test_25_a_signed_payload_that_has_another_form_is_refused(told: Told, reform: Callable[[bytes], bytes]) -> None:
    payload = reform(raw(replace(told.ledger.entry(11).event, id="00000000-0000-7000-8000-0000000000aa")))
    grace = testing.people()["grace"].key
    again = dsse.Envelope.sign(payload, PAYLOAD_TYPE, keyid="", key=grace).encode()
    assert Entry.decode(told.ledger.raw(11, 12)[0]).event.actor == "grace"
    caught(appended(told, again), Level.SIGNATURES, entry(29))


@pytest.mark.parametrize(
    "fill",
    [
        lambda tar: plain(tar, "../up"),
        lambda tar: plain(tar, "/root"),
        lambda tar: plain(tar, "a/../../b"),
        lambda tar: link(tar, tarfile.SYMTYPE),
        lambda tar: link(tar, tarfile.LNKTYPE),
        lambda tar: link(tar, tarfile.DIRTYPE, "folder", ""),
        lambda tar: plain(tar, "a") or plain(tar, "a"),
        lambda tar: plain(tar, "README") or plain(tar, "readme"),
        lambda tar: plain(tar, "a") or plain(tar, "a/b"),
        lambda tar: plain(tar, "x" * 90 + "/" + "y" * 50),
    ],
    ids=["up", "absolute", "up later", "symlink", "hard link", "folder", "doubled", "case", "in a file", "long"],
)
def test_26_what_a_tar_can_smuggle_is_refused(tmp_path: Path, fill: Callable[[tarfile.TarFile], None]) -> None:
    caught(foreign_tar(tmp_path / "a.tar", fill).read_bytes(), Level.FILES, "byte")


def test_26_bombs_are_not_read() -> None:
    small = archive.header("a", 0)
    bomb = bytearray(small)
    bomb[124:135] = b"77777777777"
    checksum = sum(bomb[:148]) + 8 * 32 + sum(bomb[156:])
    bomb[148:156] = b"%06o\x00 " % checksum
    caught(bytes(bomb) + bytes(1024), Level.FILES, "byte")
    zipped = io.BytesIO()
    with tarfile.open(fileobj=zipped, mode="w:gz") as tar:
        plain(tar, "a", bytes(10_000))
    caught(zipped.getvalue(), Level.FILES, "byte")


def test_26_a_file_that_the_manifest_lacks_or_lists_twice_is_refused(told: Told) -> None:
    caught({**told.files, "documents/extra": b"x"}, Level.FILES, "documents/extra: the manifest does not list")
    caught(listed({**told.files, "extra.py": b"x"}), Level.FILES, "extra.py: a bundle has no such file")
    manifest = bundle.Manifest.decode(told.files[bundle.MANIFEST])
    twice = replace(manifest, files=(manifest.files[0], *manifest.files))
    files = {
        **told.files,
        bundle.MANIFEST: twice.encode(),
        bundle.SEAL: bundle.sign(twice.statement(), testing.log_key()),
    }
    caught(files, Level.FILES, "manifest.json")
    caught(whole(told.files) + bytes(512), Level.FILES, "byte")
