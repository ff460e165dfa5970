"""C2SP signed notes, checkpoints and cosignatures: what a log says about itself, in text that anyone can check.

Formats: https://c2sp.org/signed-note and https://c2sp.org/tlog-checkpoint (v1.0.0), https://c2sp.org/tlog-cosignature
(v1.0.1 for Ed25519, v1.1.0-rc.1 for ML-DSA-44).
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pruneguard.errors import IntegrityError, InvalidInputError, UnavailableError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey  # older versions have none

    CosigningKey: TypeAlias = Ed25519PrivateKey | MLDSA44PrivateKey

ED25519 = 1
COSIGNATURE = 4
MLDSA44_COSIGNATURE = 6

COSIGNATURES = (COSIGNATURE, MLDSA44_COSIGNATURE)
"""The kinds of key that witnesses sign with."""

_KEY_BYTES = {ED25519: 32, COSIGNATURE: 32, MLDSA44_COSIGNATURE: 1312}
_TIME_MAX = 2**63 - 1
_SIGNATURES_MAX = 100  # the format asks verifiers for 16 at least; without a bound a note could be a bomb
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key that signs notes under a name.

    `kind` 1 is Ed25519; 4 and 6 are a witness's cosignature with a time, by Ed25519 and by ML-DSA-44.
    """

    name: str
    kind: int
    public_key: bytes

    def __post_init__(self) -> None:
        if not is_key_name(self.name):
            raise InvalidInputError(f"{self.name!r} is no key name: no spaces, no control characters, no '+'")
        if _KEY_BYTES.get(self.kind) != len(self.public_key):
            known = ", ".join(f"{kind} ({size} bytes)" for kind, size in _KEY_BYTES.items())
            raise InvalidInputError(f"key type {self.kind} of {len(self.public_key)} bytes; known are {known}")

    @classmethod
    def parse(cls, vkey: str) -> "Verifier":
        """Out of a line `name+keyid+base64`. Raises InvalidInputError when the key id is not this key's."""
        name, _, rest = vkey.strip().partition("+")
        keyid, _, encoded = rest.partition("+")
        content = decode_base64(encoded)
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
        encoded = encode_base64(bytes([self.kind]) + self.public_key)
        return f"{self.name}+{self.keyid.hex()}+{encoded}"

    def verifies(self, text: str, blob: bytes) -> bool:
        """Whether `blob` is this key's signature of the note's text.

        Raises UnavailableError for an ML-DSA-44 key where the installed `cryptography` cannot check one.
        """
        message = text.encode()
        if self.kind in COSIGNATURES:
            time, blob = int.from_bytes(blob[:8]), blob[8:]
            try:
                message = _cosigned(self, text, time)
            except InvalidInputError:
                return False
        try:
            if self.kind == MLDSA44_COSIGNATURE:
                _mldsa().MLDSA44PublicKey.from_public_bytes(self.public_key).verify(blob, message)
            else:
                Ed25519PublicKey.from_public_bytes(self.public_key).verify(blob, message)
        except (InvalidSignature, ValueError):  # the latter for 32 bytes that are no point of the curve
            return False
        return True


@dataclass(frozen=True, slots=True)
class Signature:
    """One line below a note: who claims to have signed, by which key, and the bytes."""

    name: str
    keyid: bytes
    blob: bytes

    def encode(self) -> str:
        return f"\N{EM DASH} {self.name} {encode_base64(self.keyid + self.blob)}\n"

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
        return cls(body + "\n", tuple(parse_signature(line) for line in lines))

    def signed_by(self, verifier: Verifier) -> Signature | None:
        """The verifier's own signature, or None. Raises IntegrityError if a line claims to be it and is not."""
        own = [s for s in self.signatures if (s.name, s.keyid) == (verifier.name, verifier.keyid)]
        if not all(verifier.verifies(self.text, signature.blob) for signature in own):
            raise IntegrityError(f"the signature of {verifier.name!r} does not match the note; do not use it")
        return own[0] if own else None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log commits to: its first `size` entries have this `root`."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        return "\n".join((self.origin, str(self.size), encode_base64(self.root), *self.extensions, ""))

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() or not lines[0] or not all(lines) or not _SIZE.fullmatch(lines[1]):
            raise InvalidInputError(
                f"not a checkpoint: expected origin, size and root on a line each; found {lines[:3]}"
            )
        root = decode_base64(lines[2])
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


def cosigner_of(name: str, key: "CosigningKey") -> Verifier:
    kind = COSIGNATURE if isinstance(key, Ed25519PrivateKey) else MLDSA44_COSIGNATURE
    return Verifier(name, kind, key.public_key().public_bytes_raw())


def cosign(note: Note, *, name: str, key: "CosigningKey", time: int) -> Signature:
    """A witness's signature line: at `time` (seconds since 1970) this was the largest tree that it had seen."""
    verifier = cosigner_of(name, key)
    return Signature(name, verifier.keyid, time.to_bytes(8) + key.sign(_cosigned(verifier, note.text, time)))


def new_mldsa_key() -> "MLDSA44PrivateKey":
    """Raises UnavailableError where the installed `cryptography` cannot make one."""
    key: MLDSA44PrivateKey = _mldsa().MLDSA44PrivateKey.generate()
    return key


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


def is_key_name(text: str) -> bool:
    """Whether a key may go by this name: one that could be read as two, or as another line, may not."""
    return bool(text) and "+" not in text and not any(c.isspace() or _CONTROL.match(c) for c in text)


def parse_signature(line: str) -> Signature:
    """Out of one line below a note, without its newline."""
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    content = decode_base64(encoded)
    if dash != "\N{EM DASH}" or not is_key_name(name) or len(content) < 5:
        raise InvalidInputError(f"not a signature line: {line[:80]!r}")
    return Signature(name, content[:4], content[4:])


def _cosigned(cosigner: Verifier, text: str, time: int) -> bytes:
    """What a cosigner signs (tlog-cosignature, "signed message"). Raises InvalidInputError where it could not be."""
    if not 0 <= time <= _TIME_MAX:
        raise InvalidInputError(f"a cosignature's time is {time}; expected seconds since 1970")
    checkpoint = Checkpoint.parse(text)
    if cosigner.kind == COSIGNATURE:
        return f"cosignature/v1\ntime {time}\n{text}".encode()
    return b"".join(
        (
            b"subtree/v1\n\x00",
            _opaque(cosigner.name),
            time.to_bytes(8),
            _opaque(checkpoint.origin),
            (0).to_bytes(8),
            checkpoint.size.to_bytes(8),
            checkpoint.root,
        )
    )


def _opaque(text: str) -> bytes:
    """`opaque text<1..2^8-1>` of RFC 8446, 3.4."""
    if not 0 < len(content := text.encode()) < 256:
        raise InvalidInputError(f"{text[:80]!r} has {len(content)} bytes; an ML-DSA-44 cosignature can name 1 to 255")
    return bytes([len(content)]) + content


@cache
def _mldsa() -> ModuleType:
    try:
        from cryptography.hazmat.primitives.asymmetric import mldsa

        mldsa.MLDSA44PrivateKey.from_seed_bytes(bytes(32))  # the library below it may be too old
    except (ImportError, UnsupportedAlgorithm) as error:
        raise UnavailableError(
            "the installed `cryptography` knows no ML-DSA-44, which this witness signs with; install a newer one"
        ) from error
    return mldsa


def _names(signatures: Sequence[Signature]) -> str:
    return ", ".join(f"{s.name}+{s.keyid.hex()}" for s in signatures)


def encode_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def decode_base64(text: str) -> bytes:
    """Raises InvalidInputError for any spelling but the one that `encode_base64` makes."""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInputError(f"not base64: {text[:80]!r}") from error
    if encode_base64(content) != text:  # padding bits are ignored by decoders: allow one spelling only
        raise InvalidInputError(f"base64 that is not in its canonical form: {text[:80]!r}")
    return content
