"""The model-signing signature of a version's ONNX file: OpenSSF Model Signing v1.0, ECDSA on P-256.

A sigstore bundle v0.3 that carries a DSSE envelope around an in-toto statement (https://github.com/ossf/model-signing-spec).
The signed model is a folder with `model.onnx` and nothing else; the signature is made from the file's digest alone, by
deterministic ECDSA (RFC 6979), so the same version has the same signature. `model_signing verify key` accepts it.
"""

import base64
import contextlib
import os
from pathlib import Path
from stat import S_ISREG, S_IXUSR
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from pruneguard import canonical
from pruneguard.audit.views.vocabulary import hexadecimal
from pruneguard.errors import InvalidInputError
from pruneguard.files import appearing
from pruneguard.ledger import dsse

FILE, SIGNATURE = "model.onnx", "model.sig"
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
PREDICATE = "https://model_signing/signature/v1.0"

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the group of P-256 (FIPS 186-5): with (r, s) also (r, order - s) is a signature, which anybody can make of it."""


def payload(digest: str) -> bytes:
    """The statement about a folder that holds the file with this digest, and nothing else."""
    file = hexadecimal(digest)
    root = hexadecimal(canonical.digest(bytes.fromhex(file)))
    resources = [{"name": FILE, "algorithm": "sha256", "digest": file}]
    # No `ignore_paths`: what a signature lets a verifier overlook, somebody could put beside the model.
    serialization: dict[str, Any] = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
    return canonical.encode(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": file, "digest": {"sha256": root}}],
            "predicateType": PREDICATE,
            "predicate": {"serialization": serialization, "resources": resources},
        }
    )


def sign(digest: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The signature file of the model with this digest: the same bytes at every call."""
    message = dsse.pae(PAYLOAD_TYPE, payload(digest))
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
    return _bundle(digest, encode_dss_signature(r, min(s, _ORDER - s)), key.public_key())


def faults(digest: str, content: bytes, public_key: bytes) -> list[str]:
    """What is wrong with a signature file of the model with this digest; `public_key` is PEM.

    Every byte is accounted for: what is not exactly the file that `sign` makes is a fault.
    """
    try:
        key = _public(public_key)
        found = canonical.decode(content)["dsseEnvelope"]["signatures"][0]["sig"]
        signature = base64.b64decode(found, validate=True)
        r, s = decode_dss_signature(signature)
        key.verify(signature, dsse.pae(PAYLOAD_TYPE, payload(digest)), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return [f"the signature is not this key's over {digest}"]
    except (InvalidInputError, UnsupportedAlgorithm, KeyError, IndexError, TypeError, ValueError) as error:
        return [f"no signature of a model: {type(error).__name__} {error}"]
    if content != _bundle(digest, encode_dss_signature(r, min(s, _ORDER - s)), key):
        return ["the signature holds, but stands in another form than the one that was made"]
    return []


def folder_faults(folder: Path) -> list[str]:
    """What stands in a signed model's folder besides its file and its signature.

    `model_signing` overlooks what is in `.git` and the like, empty folders and the right to execute; with
    `--ignore_unsigned_files`, everything. None of it was signed, so none of it may be there.
    """
    found = []
    for path in sorted(folder.rglob("*")):
        name, mode = path.relative_to(folder).as_posix(), path.lstat().st_mode
        if name not in (FILE, SIGNATURE):
            found.append(f"{name} was not signed; remove it")
        elif not S_ISREG(mode) or mode & S_IXUSR:
            found.append(f"{name} is not a plain file that nobody executes")
    if not (folder / FILE).exists():
        found.append(f"{FILE} is missing")
    return found


def public_pem(key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> bytes:
    """The public key as PEM."""
    public = key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey) else key
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def key_at(path: Path) -> ec.EllipticCurvePrivateKey:
    """The key that signs models, in a PEM file of mode 0600; made when there is none yet.

    Raises InvalidInputError for another kind of key, or one that others can read.
    """
    if not path.exists():
        made = ec.generate_private_key(ec.SECP256R1())
        text = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        # Whoever else made one in this moment made the one that is read below.
        with contextlib.suppress(InvalidInputError), appearing(path) as partial:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(text)
    if (mode := path.stat().st_mode & 0o777) & 0o077:
        raise InvalidInputError(f"{path} has mode {mode:04o}: others can read this key; run `chmod 600 {path}`")
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise InvalidInputError(f"{path}: no private key without a passphrase: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidInputError(f"{path}: model-signing takes keys on P-256; make another")
    return key


def _bundle(digest: str, signature: bytes, key: ec.EllipticCurvePublicKey) -> bytes:
    hint = hexadecimal(canonical.digest(public_pem(key)))
    document: dict[str, Any] = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload(digest)).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    return canonical.encode(document)


def _public(pem: bytes) -> ec.EllipticCurvePublicKey:
    key = load_pem_public_key(pem)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidInputError("the public key is not one on P-256")
    if public_pem(key) != pem:
        raise InvalidInputError("the public key is not in its one PEM form")
    return key
