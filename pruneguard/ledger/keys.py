"""Private keys and the files they live in.

A key file is JSON with mode 0600: who it belongs to, the public key in clear, the private key as PKCS #8 PEM, which a
passphrase encrypts. It is written once and never overwritten.
"""

import base64
import json
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from pruneguard import canonical
from pruneguard.errors import InvalidInputError, UnavailableError
from pruneguard.files import appearing
from pruneguard.ledger import dsse, notes
from pruneguard.ledger.events import PAYLOAD_TYPE, Event, key_proof
from pruneguard.ledger.shapes import is_name

_SIGNER = "signer/v1"
_LOG_KEY = "log-key/v1"
_LOCKED = b"ENCRYPTED PRIVATE KEY"
_NEW_AND_PRIVATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL


@dataclass(frozen=True, slots=True)
class Signer:
    """A person who can sign: their id in the ledger and their own key."""

    actor: str
    key: Ed25519PrivateKey

    @property
    def public_key(self) -> str:
        """Base64 of the 32 bytes, as `key.registered` names it."""
        return base64.b64encode(self.key.public_key().public_bytes_raw()).decode()

    @property
    def fingerprint(self) -> str:
        """The first 12 characters of the key's digest, in hexadecimal: enough for people to tell keys apart."""
        return self._keyid.removeprefix("sha256:")[:12]

    def prove(self, ledger: str) -> str:
        """What `key.rotated` carries: this key's own signature that it is the actor's, in the ledger of that id."""
        return base64.b64encode(self.key.sign(key_proof(ledger, self.actor, self.public_key))).decode()

    def sign(self, event: Event) -> dsse.Envelope:
        """The event in an envelope. Raises InvalidInputError when it names another actor."""
        if event.actor != self.actor:
            raise InvalidInputError(f"{self.actor!r} cannot sign what {event.actor!r} does; use that person's own key")
        return dsse.Envelope.sign(event.encode(), PAYLOAD_TYPE, keyid=self._keyid, key=self.key)

    @property
    def _keyid(self) -> str:
        return canonical.digest(self.key.public_key().public_bytes_raw())


@dataclass(frozen=True, slots=True)
class LogKey:
    """What a ledger signs its checkpoints with. Its name is the ledger's origin."""

    name: str
    key: Ed25519PrivateKey

    @property
    def verifier(self) -> notes.Verifier:
        return notes.verifier_of(self.name, self.key)


def new_signer(path: Path, actor: str, *, passphrase: bytes | None = None) -> Signer:
    """Make a key for `actor` and keep it at `path`. Raises InvalidInputError when something is there already."""
    if not is_name(actor):
        raise InvalidInputError(
            f"{actor!r} is no name for an actor; use 1 to 64 of a-z 0-9 . _ - and begin with a letter or digit"
        )
    signer = Signer(actor, Ed25519PrivateKey.generate())
    _write(path, _SIGNER, actor, signer.key, passphrase)
    return signer


def is_locked(path: Path) -> bool:
    """Whether it takes a passphrase to open the key file at `path`; False for what is no key file."""
    try:
        return _LOCKED in path.read_bytes()
    except OSError:
        return False


def load_signer(path: Path, *, passphrase: bytes | None = None) -> Signer:
    """The signer in a key file; `passphrase` is for one that is locked.

    Raises UnavailableError when absent, InvalidInputError when it is not such a key or not private to its owner.
    """
    return Signer(*_read(path, _SIGNER, passphrase))


def new_log_key(path: Path, origin: str, *, passphrase: bytes | None = None) -> LogKey:
    """Make the key of the ledger `origin` and keep it at `path`, where nothing may be yet."""
    log_key = LogKey(origin, Ed25519PrivateKey.generate())
    _ = log_key.verifier  # refuses an origin that no note could carry, before anything is written
    _write(path, _LOG_KEY, origin, log_key.key, passphrase)
    return log_key


def load_log_key(path: Path, *, passphrase: bytes | None = None) -> LogKey:
    """Raises as `load_signer` does."""
    return LogKey(*_read(path, _LOG_KEY, passphrase))


def _write(path: Path, kind: str, owner: str, key: Ed25519PrivateKey, passphrase: bytes | None) -> None:
    if not owner.strip():
        raise InvalidInputError(f"a key at {path} needs an owner's name")
    encryption: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    document = {
        "kind": kind,
        "owner": owner,
        "public_key": base64.b64encode(key.public_key().public_bytes_raw()).decode(),
        "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode(),
    }
    with appearing(path) as partial, os.fdopen(os.open(partial, _NEW_AND_PRIVATE, 0o600), "wb") as file:
        file.write(json.dumps(document, indent=1).encode() + b"\n")


def _read(path: Path, kind: str, passphrase: bytes | None) -> tuple[str, Ed25519PrivateKey]:
    try:
        mode, content = path.stat().st_mode & 0o777, path.read_bytes()
    except OSError as error:
        raise UnavailableError(f"no key can be read at {path}: {error.strerror}; make one or name its path") from error
    if mode & 0o077:
        raise InvalidInputError(f"{path} has mode {mode:04o}: others can read this key; run `chmod 600 {path}`")
    try:
        document = json.loads(content)
        if document["kind"] != kind:
            raise InvalidInputError(f"{path} is a {document['kind']!r} file; expected {kind!r}")
        pem = document["private_key"].encode()
        key = load_pem_private_key(pem, passphrase if _LOCKED in pem else None)
        owner, public = str(document["owner"]), document["public_key"]
    except (ValueError, TypeError, KeyError, AttributeError) as error:  # a wrong or missing passphrase is among them
        raise InvalidInputError(f"{path}: not a key this passphrase opens: {error}") from error
    if (
        not isinstance(key, Ed25519PrivateKey)
        or public != base64.b64encode(key.public_key().public_bytes_raw()).decode()
    ):
        raise InvalidInputError(f"{path}: the private key is not the one of the public key beside it")
    return owner, key
