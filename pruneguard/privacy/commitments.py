"""A personal value as the ledger holds it: a salted hash, which says nothing once its opening is gone."""

import hashlib
import os
import unicodedata
from dataclasses import dataclass, field

from pruneguard.errors import InvalidInputError

VALUE_BYTES_MAX = 4_096

_LABEL = b"field/v1"
_SALT_BYTES = 32


@dataclass(frozen=True, slots=True)
class Opening:
    """What proves whose value a commitment is of: the value and 32 bytes of chance.

    The salt is why a commitment cannot be guessed open: names and addresses are few, salts are not.
    """

    salt: bytes = field(repr=False)
    value: str = field(repr=False)  # no log that prints an opening gives it away

    @classmethod
    def of(cls, value: str) -> "Opening":
        """A value with a new salt. Raises InvalidInputError, which never repeats the value."""
        if not value.strip() or not unicodedata.is_normalized("NFC", value):
            raise InvalidInputError("a personal value is a text, not blank, in Unicode NFC; type it anew")
        if (size := len(value.encode("utf-8", "replace"))) > VALUE_BYTES_MAX:
            raise InvalidInputError(f"a personal value of {size} bytes; at most {VALUE_BYTES_MAX} are kept")
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
            raise InvalidInputError("a personal value is one line without control characters; type it anew")
        return cls(os.urandom(_SALT_BYTES), value)

    @property
    def commitment(self) -> str:
        """SHA256("field/v1" || salt || value) in hexadecimal."""
        return hashlib.sha256(_LABEL + self.salt + self.value.encode()).hexdigest()

    def encode(self) -> bytes:
        return self.salt + self.value.encode()

    @classmethod
    def decode(cls, content: bytes) -> "Opening":
        return cls(content[:_SALT_BYTES], content[_SALT_BYTES:].decode())
