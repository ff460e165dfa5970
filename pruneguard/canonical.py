"""The one way a value becomes bytes, and bytes a digest.

Bytes are made once (RFC 8785) and from then on stored, hashed and shipped as they are: a reader hashes what it
received and never encodes again.
"""

import hashlib
import json
import math
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, TypeAlias

import rfc8785

from pruneguard.errors import InvalidInputError

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

_INTEGER_MAX = 2**53 - 1
_PLAIN = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
"""RFC 8785 for plain values whose text is ASCII, five times as fast: there keys sort the same by code point and by
UTF-16 unit, both escape the same characters, and text has one spelling. Numbers with a point are written otherwise."""


def digest(content: bytes) -> str:
    """Name of some bytes.

    >>> digest(b"")
    'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
    """
    return "sha256:" + hashlib.sha256(content).hexdigest()


def encode(document: Json, *, whole: bool = False) -> bytes:
    """RFC 8785 bytes of a document; refuses NaN, infinities, integers beyond 2^53-1 and text that is not NFC.

    With `whole` it refuses every float: two programs may write one number in two ways.

    >>> encode({"b": 1.0, "a": [True, None]})
    b'{"a":[true,null],"b":1}'
    """
    try:
        if _is_plain(document) and (text := _PLAIN.encode(document)).isascii():
            return text.encode("ascii")
        _require_text(document, "$")
        if whole and _has_fraction(document):
            raise InvalidInputError("this value holds a number that is not whole; send it as text")
        return rfc8785.dumps(document)
    except (rfc8785.CanonicalizationError, TypeError, UnicodeEncodeError, RecursionError) as error:
        raise InvalidInputError(f"this value has no canonical form: {error}; use finite numbers and text") from error


def decode(content: bytes) -> Any:
    """Parse JSON strictly, so that no two readers see two values.

    One value in UTF-8; no duplicate keys, no NaN, no number that a double cannot hold, no half of a surrogate pair, all
    text in NFC. Raises InvalidInputError naming what was found.
    """
    try:
        document = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_int=_safe_integer,
            parse_float=_finite,
        )
        if not content.isascii() or b"\\u" in content:  # plain ASCII is in NFC
            _require_text(document, "$")
    except (UnicodeError, json.JSONDecodeError, RecursionError) as error:
        raise InvalidInputError(f"not JSON: {error}") from error
    return document


def decode_canonical(content: bytes) -> Any:
    """As `decode`, for bytes that must be the one form (RFC 8785) of what they hold, with whole numbers only.

    Made for logs of a million entries.
    """
    try:
        text = content.decode("ascii")
        document = _STRICT.decode(text)
        if _PLAIN.encode(document) == text:  # a doubled key, a space or another order of keys would not come back
            return document
    except (ValueError, RecursionError):
        pass  # text beyond ASCII, or something wrong that the slow way can name
    if encode(decode(content)) != content:
        raise InvalidInputError("this JSON is not in its canonical form (RFC 8785); nobody may write it in another")
    return _STRICT.decode(content.decode("utf-8"))


def decode_own(content: bytes) -> Any:
    """As `decode`, for bytes that `encode` has just made of whole numbers: nothing is left in them to refuse."""
    return json.loads(content)


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


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise InvalidInputError(f"the number {text[:40]} does not fit a double; send it as text")
    return value


def _refuse_fraction(text: str) -> NoReturn:
    raise InvalidInputError(f"the number {text[:40]} is not whole; send it as text")


def _exact_integer(text: str) -> int:
    if len(text) < 16 or (len(text) < 18 and abs(int(text)) <= _INTEGER_MAX):
        return int(text)
    raise InvalidInputError(f"the integer {text[:40]} is beyond 2^53-1; send it as text")


def _safe_integer(text: str) -> int | float:
    if len(text) < 16:  # the usual case, which has to be fast
        return int(text)
    if len(text) < 23 and abs(int(text)) < 2**53:
        return int(text)
    # Canonical JSON writes a double below 1e21 without a point; any other integer could be read in two ways.
    value = float(text)
    if abs(value) >= 1e21 or rfc8785.dumps(value) != text.encode():
        raise InvalidInputError(f"the integer {text[:40]} does not fit a double; send it as text")
    return value


def _is_plain(value: object) -> bool:
    """Whether a value is made of these very types: what merely behaves like one may be written in its own way."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return -_INTEGER_MAX <= value <= _INTEGER_MAX  # type: ignore[operator]
    if kind is dict:
        return set(map(type, value)) <= {str} and all(map(_is_plain, value.values()))  # type: ignore[attr-defined,call-overload]
    return (kind is list or kind is tuple) and all(map(_is_plain, value))  # type: ignore[call-overload]


def _has_fraction(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_fraction, value.values()))
    return isinstance(value, float) or (isinstance(value, list | tuple) and any(map(_has_fraction, value)))


def _require_text(value: Json, place: str) -> None:
    if isinstance(value, str):
        if not value.isprintable() and any("\ud800" <= character <= "\udfff" for character in value):
            raise InvalidInputError(f"the text at {place} holds half of a surrogate pair, which is no character")
        if not unicodedata.is_normalized("NFC", value):
            raise InvalidInputError(f"the text at {place} is not in Unicode NFC; normalise it before it is recorded")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _require_text(key, f"{place}.{key}")
            _require_text(item, f"{place}.{key}")
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for index, item in enumerate(value):
            _require_text(item, f"{place}[{index}]")


_STRICT = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_exact_integer, parse_float=_refuse_fraction)
