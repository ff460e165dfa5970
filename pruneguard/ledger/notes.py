"""C2SP signed notes, checkpoints and cosignatures: what a log says about itself, in text that anyone can check.

Formats: https://c2sp.org/signed-note, https://c2sp.org/tlog-checkpoint, https://c2sp.org/tlog-cosignature (v1.0.0).
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pruneguard.errors import IntegrityError, InvalidInputError

ED25519 = 1
COSIGNATURE = 4

_SIGNATURES_MAX = 100  # the format asks verifiers for 16 at least; without a bound a note could be a bomb
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key that signs notes under a name. `kind` 1 is Ed25519, 4 a witness's timestamped cosignature."""

    name: str
    kind: int
    public_key: bytes

    def __post_init__(self) -> None:
        if not self.name or "+" in self.name or any(c.isspace() or _CONTROL.match(c) for c in self.name):
            raise InvalidInputError(f"{self.name!r} is no key name: no spaces, no control characters, no '+'")
        if self.kind not in (ED25519, COSIGNATURE) or len(self.public_key) != 32:
            raise InvalidInputError(f"key type {self.kind} of {len(self.public_key)} bytes; known are Ed25519 (1, 4)")

    @classmethod
    def parse(cls, vkey: str) -> "Verifier":
        """Out of a line `name+keyid+base64`. Raises InvalidInputError when the key id is not this key's."""
        name, _, rest = vkey.strip().partition("+")
        keyid, _, encoded = rest.partition("+")
        content = _base64(encoded)
        verifier = cls(name, content[0] if content else 0, content[1:])
        if verifier.keyid.hex() != keyid:
            raise InvalidInputError(f"the key id of {name!r} is {verifier.keyid.hex()}, its vkey says {keyid!r}")
        return verifier

    @property
    def keyid(self) -> bytes:
        kind = bytes([self.kind])
        return hashlib.sha256(self.name.encode() + b"\n" + kind + self.public_key).digest()[:4]

    @property
    def vkey(self) -> str:
        encoded = base64.b64encode(bytes([self.kind]) + self.public_key).decode()
        return f"{self.name}+{self.keyid.hex()}+{encoded}"

    def verifies(self, text: str, blob: bytes) -> bool:
        """Whether `blob` is this key's signature of the note's text."""
        message = text.encode()
        if self.kind == COSIGNATURE:
            if len(blob) != 72:
                return False
            time, blob = int.from_bytes(blob[:8]), blob[8:]
            message = b"cosignature/v1\ntime %d\n" % time + message
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(blob, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Signature:
    """One line below a note: who claims to have signed, by which key, and the bytes."""

    name: str
    keyid: bytes
    blob: bytes

    def encode(self) -> str:
        return f"\N{EM DASH} {self.name} {base64.b64encode(self.keyid + self.blob).decode()}\n"

    @property
    def time(self) -> int:
        """Of a cosignature: when the witness saw the checkpoint, in seconds since 1970, as it says."""
        return int.from_bytes(self.blob[:8])


@dataclass(frozen=True, slots=True)
class Note:
    """A text that ends in a newline, and the signatures below it."""

    text: str
    signatures: tuple[Signature, ...]

    def encode(self) -> bytes:
        return f"{self.text}\n{''.join(s.encode() for s in self.signatures)}".encode()

    @classmethod
    def parse(cls, content: bytes) -> "Note":
        """Raises InvalidInputError for what is not exactly a signed note."""
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidInputError(f"a note is UTF-8: {error}") from error
        body, empty, below = text.rpartition("\n\n")
        lines = below.split("\n")
        if _CONTROL.search(text) or not empty or not body or lines.pop() or not 0 < len(lines) <= _SIGNATURES_MAX:
            raise InvalidInputError("not a signed note: expected text, an empty line, and signature lines")
        return cls(body + "\n", tuple(_signature(line) for line in lines))

    def signed_by(self, verifier: Verifier) -> Signature | None:
        """The verifier's own signature, or None. Raises IntegrityError if a line claims to be it and is not."""
        for signature in self.signatures:
            if (signature.name, signature.keyid) == (verifier.name, verifier.keyid):
                if not verifier.verifies(self.text, signature.blob):
                    raise IntegrityError(f"the signature of {verifier.name!r} does not match the note; do not use it")
                return signature
        return None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log commits to: its first `size` entries have this `root`."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        return "\n".join((self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions, ""))

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() or not lines[0] or not all(lines) or not _SIZE.fullmatch(lines[1]):
            raise InvalidInputError(
                f"not a checkpoint: expected origin, size and root on a line each; found {lines[:3]}"
            )
        root = _base64(lines[2])
        if len(root) != 32:
            raise InvalidInputError(f"the checkpoint's root has {len(root)} bytes; expected 32")
        return cls(lines[0], int(lines[1]), root, tuple(lines[3:]))

    def sign(self, key: Ed25519PrivateKey) -> bytes:
        """The checkpoint as a note signed by the log, under its origin as key name."""
        return sign(self.text(), name=self.origin, key=key).encode()


def verifier_of(name: str, key: Ed25519PrivateKey) -> Verifier:
    return Verifier(name, ED25519, key.public_key().public_bytes_raw())


def sign(text: str, *, name: str, key: Ed25519PrivateKey) -> Note:
    """A note over `text`, which must end in a newline and hold no other control character."""
    if not text.endswith("\n") or _CONTROL.search(text):
        raise InvalidInputError("a note's text ends in a newline and holds no other control character")
    verifier = verifier_of(name, key)
    return Note(text, (Signature(name, verifier.keyid, key.sign(text.encode())),))


def cosign(note: Note, *, name: str, key: Ed25519PrivateKey, time: int) -> Signature:
    """A witness's signature line: it saw this checkpoint at `time` (seconds since 1970)."""
    verifier = Verifier(name, COSIGNATURE, key.public_key().public_bytes_raw())
    message = f"cosignature/v1\ntime {time}\n{note.text}".encode()
    return Signature(name, verifier.keyid, time.to_bytes(8) + key.sign(message))


def open_checkpoint(content: bytes, log: Verifier) -> Checkpoint:
    """The checkpoint in a note that `log` signed.

    Raises InvalidInputError for what is not a checkpoint, IntegrityError when the log did not sign it.
    """
    note = Note.parse(content)
    if note.signed_by(log) is None:
        raise IntegrityError(f"the checkpoint is not signed by {log.vkey}; it carries {_names(note.signatures)}")
    checkpoint = Checkpoint.parse(note.text)
    if checkpoint.origin != log.name:
        raise IntegrityError(f"the checkpoint is of {checkpoint.origin!r}, the key of {log.name!r}")
    return checkpoint


def _signature(line: str) -> Signature:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    content = _base64(encoded)
    if dash != "\N{EM DASH}" or not name or "+" in name or len(content) < 5:
        raise InvalidInputError(f"not a signature line: {line[:80]!r}")
    return Signature(name, content[:4], content[4:])


def _names(signatures: Sequence[Signature]) -> str:
    return ", ".join(f"{s.name}+{s.keyid.hex()}" for s in signatures)


def _base64(text: str) -> bytes:
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInputError(f"not base64: {text[:80]!r}") from error
    if base64.b64encode(content).decode() != text:  # padding bits are ignored by decoders: allow one spelling only
        raise InvalidInputError(f"base64 that is not in its canonical form: {text[:80]!r}")
    return content
