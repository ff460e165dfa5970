"""Signatures of model files: made again bit for bit, accepted for one digest and one key, in one form."""

import base64
import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pruneguard import canonical
from pruneguard.audit import signing
from pruneguard.errors import InvalidInputError

KEY = ec.derive_private_key(7, ec.SECP256R1())
PUBLIC = signing.public_pem(KEY)
DIGEST = canonical.digest(b"ONNX")


def test_a_signature_is_made_again_bit_for_bit_and_accepted():
    assert signing.sign(DIGEST, KEY) == signing.sign(DIGEST, KEY)
    assert signing.faults(DIGEST, signing.sign(DIGEST, KEY), PUBLIC) == []


def test_every_changed_bit_is_found():
    content = signing.sign(DIGEST, KEY)
    for at in range(len(content)):
        changed = bytearray(content)
        changed[at] ^= 1 << at % 8
        assert signing.faults(DIGEST, bytes(changed), PUBLIC), at


def test_a_signature_is_about_one_digest_and_by_one_key():
    other = ec.derive_private_key(8, ec.SECP256R1())
    content = signing.sign(DIGEST, KEY)
    assert signing.faults(canonical.digest(b"other"), content, PUBLIC) == [
        f"the signature is not this key's over {canonical.digest(b'other')}"
    ]
    assert signing.faults(DIGEST, content, signing.public_pem(other))
    assert signing.faults(DIGEST, signing.sign(DIGEST, other), PUBLIC)


def _changed(change) -> bytes:
    document = json.loads(signing.sign(DIGEST, KEY))
    change(document)
    return canonical.encode(document)


def _resign(document, payload: bytes) -> None:
    from pruneguard.ledger import dsse

    envelope = document["dsseEnvelope"]
    message = dsse.pae(envelope["payloadType"], payload)
    signature = KEY.sign(message, ec.ECDSA(signing.hashes.SHA256(), deterministic_signing=True))
    envelope["payload"] = base64.b64encode(payload).decode()
    envelope["signatures"][0]["sig"] = base64.b64encode(signature).decode()


def _ignoring(document) -> None:
    statement = json.loads(signing.payload(DIGEST))
    statement["predicate"]["serialization"]["ignore_paths"] = ["extra.py"]
    _resign(document, canonical.encode(statement))


def _typed(document) -> None:
    document["dsseEnvelope"]["payloadType"] = "text/plain"
    _resign(document, signing.payload(DIGEST))


def _other_half(document) -> None:
    one = document["dsseEnvelope"]["signatures"][0]
    r, s = decode_dss_signature(base64.b64decode(one["sig"]))
    one["sig"] = base64.b64encode(encode_dss_signature(r, signing._ORDER - s)).decode()


def _twice(document) -> None:
    document["dsseEnvelope"]["signatures"] *= 2


def _keyid(document) -> None:
    document["dsseEnvelope"]["signatures"][0]["keyid"] = "somebody else"


def _hint(document) -> None:
    document["verificationMaterial"]["publicKey"]["hint"] = "0" * 64


def _url_safe(document) -> None:
    one = document["dsseEnvelope"]["signatures"][0]
    one["sig"] = one["sig"].replace("=", "") + "\n"


@pytest.mark.parametrize(
    "change", [_ignoring, _typed, _other_half, _twice, _keyid, _hint, _url_safe, lambda document: document.clear()]
)
def test_what_carries_the_right_signature_in_another_form_is_refused(change):
    assert signing.faults(DIGEST, _changed(change), PUBLIC)


def test_a_signature_with_spaces_or_a_doubled_key_is_refused():
    content = signing.sign(DIGEST, KEY)
    assert signing.faults(DIGEST, content + b"\n", PUBLIC)
    assert signing.faults(DIGEST, content.replace(b'{"dsse', b'{"mediaType":"x","dsse', 1), PUBLIC)


@pytest.mark.parametrize("pem", [b"", b"no key", PUBLIC + b"\n", PUBLIC.replace(b"\n", b"\r\n")])
def test_a_public_key_that_is_none_is_a_fault(pem):
    assert signing.faults(DIGEST, signing.sign(DIGEST, KEY), pem)


def test_what_a_signed_folder_may_not_hold_is_named(tmp_path: Path):
    (tmp_path / "model.onnx").write_bytes(b"ONNX")
    (tmp_path / "model.sig").write_bytes(b"signature")
    assert signing.folder_faults(tmp_path) == []
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/hook").write_text("x")
    (tmp_path / ".gitattributes").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "extra.py").write_text("x")
    (tmp_path / "model.onnx").chmod(0o755)
    assert signing.folder_faults(tmp_path) == [
        ".git was not signed; remove it",
        ".git/hook was not signed; remove it",
        ".gitattributes was not signed; remove it",
        "empty was not signed; remove it",
        "extra.py was not signed; remove it",
        "model.onnx is not a plain file that nobody executes",
    ]


def test_a_link_in_the_models_place_or_no_model_is_named(tmp_path: Path):
    assert signing.folder_faults(tmp_path) == ["model.onnx is missing"]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/model.onnx").write_bytes(b"ONNX")
    (tmp_path / "model.onnx").symlink_to(tmp_path / "elsewhere/model.onnx")
    assert "model.onnx is not a plain file that nobody executes" in signing.folder_faults(tmp_path)


def test_the_key_is_made_once_and_private(tmp_path: Path):
    path = tmp_path / "keys" / "model-signing.pem"
    made = signing.key_at(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert signing.public_pem(signing.key_at(path)) == signing.public_pem(made)
    path.chmod(0o644)
    with pytest.raises(InvalidInputError, match="chmod 600"):
        signing.key_at(path)


@pytest.mark.parametrize("content", [b"no key", b"curve"])
def test_another_kind_of_key_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "model-signing.pem"
    if content == b"curve":
        other = ec.generate_private_key(ec.SECP384R1())
        content = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(InvalidInputError, match=str(path)):
        signing.key_at(path)
