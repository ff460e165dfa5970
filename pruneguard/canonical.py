"""The one way a value becomes bytes, and bytes a digest.

Bytes are made once (RFC 8785) and from then on stored, hashed and shipped as they are: a reader hashes what it
received and never encodes again.
"""

import hashlib
import json
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import rfc8785

from pruneguard.errors import InvalidInputError

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"


def digest(content: bytes) -> str:
    """Name of some bytes.

    >>> digest(b"")
    'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
    """
    return "sha256:" + hashlib.sha256(content).hexdigest()


def encode(document: Json) -> bytes:
    """RFC 8785 bytes of a document; refuses NaN, infinities, integers beyond 2^53-1 and text that is not NFC.

    >>> encode({"b": 1.0, "a": [True, None]})
    b'{"a":[true,null],"b":1}'
    """
    _require_nfc(document, "$")
    try:
        return rfc8785.dumps(document)
    except (rfc8785.CanonicalizationError, TypeError, UnicodeEncodeError) as error:
        raise InvalidInputError(f"this value has no canonical form: {error}; use finite numbers and text") from error


def decode(content: bytes) -> Any:
    """Parse JSON strictly: one value, UTF-8, no duplicate keys, no NaN, no integer that a double cannot hold.

    Raises InvalidInputError naming what was found.
    """
    try:
        return json.loads(
            content.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_int=_safe_integer
        )
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InvalidInputError(f"not JSON: {error}") from error


class Document(ABC):
    """A value with one form as bytes: those of its document, whose `kind` says how to read it."""

    __slots__ = ()

    @abstractmethod
    def to_document(self) -> Mapping[str, Any]: ...

    def encode(self) -> bytes:
        return encode(self.to_document())

    @property
    def digest(self) -> str:
        return digest(self.encode())


@contextmanager
def opened(content: bytes, kind: str) -> Iterator[dict[str, Any]]:
    """The document in `content`, for the block to read; what is not there as it must be is an InvalidInputError.

    >>> with opened(b'{"kind":"point/v1","x":3}', "point/v1") as document:
    ...     document["x"]
    3
    """
    document = decode(content)
    try:
        if document["kind"] != kind:
            raise InvalidInputError(f"this is a {document['kind']!r} document; expected {kind!r}")
        yield document
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise InvalidInputError(f"malformed {kind}: {type(error).__name__} {error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        doubled = sorted({key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1})
        raise InvalidInputError(f"the JSON keys {doubled} occur twice in one object; two readers could disagree")
    return result


def _refuse_constant(name: str) -> None:
    raise InvalidInputError(f"{name} is not JSON; send a finite number or null")


def _safe_integer(text: str) -> int | float:
    if len(text) < 23 and abs(int(text)) < 2**53:
        return int(text)
    # Canonical JSON writes a double below 1e21 without a point; any other integer could be read in two ways.
    value = float(text)
    if abs(value) >= 1e21 or rfc8785.dumps(value) != text.encode():
        raise InvalidInputError(f"the integer {text[:40]} does not fit a double; send it as text")
    return value


def _require_nfc(value: Json, place: str) -> None:
    if isinstance(value, str):
        if not unicodedata.is_normalized("NFC", value):
            raise InvalidInputError(f"the text at {place} is not in Unicode NFC; normalise it before it is recorded")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _require_nfc(key, f"{place}.{key}")
            _require_nfc(item, f"{place}.{key}")
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for index, item in enumerate(value):
            _require_nfc(item, f"{place}[{index}]")
