"""DSSE v1 envelopes: a payload, its type, and the signatures of the people behind it (Ed25519).

https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md
"""

import base64
import binascii
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pruneguard import canonical
from pruneguard.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Envelope:
    payload_type: str
    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]
    """Pairs of key id and signature. The key id is a hint and proves nothing."""

    @classmethod
    def sign(cls, payload: bytes, payload_type: str, *, keyid: str, key: Ed25519PrivateKey) -> "Envelope":
        return cls(payload_type, payload, ((keyid, key.sign(pae(payload_type, payload))),))

    def verified_by(self, key: Ed25519PublicKey) -> bool:
        """Whether at least one signature is this key's over exactly the payload and type carried here."""
        message = pae(self.payload_type, self.payload)
        return any(_verifies(key, signature, message) for _, signature in self.signatures)

    def encode(self) -> bytes:
        return canonical.encode(
            {
                "payload": base64.b64encode(self.payload).decode(),
                "payloadType": self.payload_type,
                "signatures": [
                    {"keyid": keyid, "sig": base64.b64encode(sig).decode()} for keyid, sig in self.signatures
                ],
            }
        )

    @classmethod
    def decode(cls, content: bytes) -> "Envelope":
        document = canonical.decode_canonical(content)
        try:
            if document.keys() != {"payload", "payloadType", "signatures"}:
                raise InvalidInputError(f"not a DSSE envelope: its keys are {sorted(document)}")
            signatures = tuple((_text(s["keyid"]), _base64(_text(s["sig"]))) for s in document["signatures"])
            return cls(_text(document["payloadType"]), _base64(_text(document["payload"])), signatures)
        except (KeyError, TypeError, AttributeError) as error:
            raise InvalidInputError(f"malformed DSSE envelope: {type(error).__name__} {error}") from error


def is_envelope(content: bytes) -> bool:
    """Tell an envelope from an event by its first key; both are canonical JSON, so keys are sorted."""
    return content.startswith(b'{"payload":')


def pae(payload_type: str, payload: bytes) -> bytes:
    """Pre-authentication encoding: what is signed.

    >>> pae("http://example.com/HelloWorld", b"hello world")
    b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _verifies(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _base64(text: str) -> bytes:
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInputError(f"not base64: {error}") from error
    # Padding bits are ignored by decoders, so two texts could carry one value: allow the canonical one only.
    if base64.b64encode(content).decode() != text:
        raise InvalidInputError("base64 that is not in its canonical form")
    return content
