"""What a field of an event may hold. One kind for each meaning, checked before any rule reads the field.

Names are lower-case ASCII, so that no two of them look alike in different letters; times have one form, so that they
sort as they follow each other.
"""

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

TEXT_CHARACTERS_MAX = 4_000

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_IDENTIFIER = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_COMMITMENT = re.compile(r"[0-9a-f]{64}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SHARE = re.compile(r"0\.[0-9]{0,11}[1-9]|1")
_SCORE = re.compile(r"(0|[1-9][0-9]{0,8})/[1-9][0-9]{0,8}")
_SMALL_ORDER = frozenset(
    bytes.fromhex(y)
    for y in (  # the y of each point of order 1, 2, 4 and 8, and those that a lax reader takes for one of them
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
)


def is_name(value: object) -> bool:
    """Ids of actors, persons, models, runs, policies and holds.

    >>> [is_name(text) for text in ("ada", "resnet-18", "Ada", "\\u0430da", "", "a b", "x" * 65)]
    [True, True, False, False, False, False, False]
    """
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def is_identifier(value: object) -> bool:
    """A UUID in lower case: the id of an event."""
    return isinstance(value, str) and _IDENTIFIER.fullmatch(value) is not None


def is_time(value: object) -> bool:
    """RFC 3339 in UTC to the microsecond, with Z, of a day that exists: text that sorts as time passes.

    >>> [is_time(f"2026-02-{end}") for end in ("28T00:00:00.000000Z", "28T00:00:00Z", "30T00:00:00.000000Z")]
    [True, False, False]
    """
    if not isinstance(value, str) or _TIME.fullmatch(value) is None:
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def is_digest(value: object) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def is_words(value: object) -> bool:
    """Text that is not a document, and that a terminal prints as it is: no control character but newline and tab."""
    return isinstance(value, str) and len(value) <= TEXT_CHARACTERS_MAX and _CONTROL.search(value) is None


def is_text(value: object) -> bool:
    """Words that say something."""
    return is_words(value) and len(str(value).strip()) > 0


def is_whole(value: object, least: int) -> bool:
    return type(value) is int and value >= least  # not a bool, which Python would count as 0 or 1


def is_base64(value: object, size: int) -> bool:
    """Base64 of that many bytes, in its one canonical form."""
    try:
        content = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except ValueError:  # binascii.Error is one
        return False
    return len(content) == size and base64.b64encode(content).decode() == value


def is_key(value: object) -> bool:
    """An Ed25519 public key, as base64: not one of small order, under which one signature holds for many messages."""
    return is_base64(value, 32) and _fold_sign(base64.b64decode(str(value))) not in _SMALL_ORDER


def _fold_sign(key: bytes) -> bytes:
    return key[:-1] + bytes([key[-1] & 0x7F])


def _is_list(value: object, of: Callable[[object], bool]) -> bool:
    """A list without repetition; an empty one says nothing."""
    return isinstance(value, list) and bool(value) and all(map(of, value)) and len(set(value)) == len(value)


def _is_ranges(value: object) -> bool:
    """[[start, end), ...]: in order, none empty, none touching the next."""
    if not isinstance(value, list) or not value:
        return False
    behind = -1
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2 or not all(is_whole(end, 0) for end in pair):
            return False
        if not behind < pair[0] < pair[1]:
            return False
        behind = pair[1]
    return True


def _is_counts(value: object) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(is_text(k) and is_whole(value[k], 1) for k in value)


def _is_objections(value: object) -> bool:
    outcomes = ("failed", "underpowered", "no evidence")
    return isinstance(value, Mapping) and all(is_text(rule) and value[rule] in outcomes for rule in value)


def _is_scope(value: object) -> bool:
    if not isinstance(value, str):
        return False
    return value in ("all", "telemetry", "decisions") or (
        value.startswith("subject:") and is_name(value.removeprefix("subject:"))
    )


def _is_steps(value: object) -> bool:
    """Shares below 1 that grow, each with the requests and seconds that it is kept for."""
    names = {"share", "requests_min", "seconds_min"}
    if not isinstance(value, list) or not value:
        return False
    if not all(isinstance(step, Mapping) and step.keys() == names for step in value):
        return False
    kept = all(is_whole(step["requests_min"], 1) and is_whole(step["seconds_min"], 0) for step in value)
    shares = [step["share"] for step in value]
    if not kept or not all(isinstance(s, str) and _SHARE.fullmatch(s) and s != "1" for s in shares):
        return False
    return all(float(before) < float(after) for before, after in pairwise(shares))


def _one_of(*values: str) -> tuple[str, Callable[[object], bool]]:
    return f"one of {', '.join(values)}", lambda value: isinstance(value, str) and value in values


_KINDS: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "name": ("1 to 64 of a-z 0-9 . _ -, beginning with a letter or digit", is_name),
    "identifier": ("the id of an event", is_identifier),
    "time": ("a UTC time like 2026-01-02T03:04:05.000000Z", is_time),
    "text": (f"text of at most {TEXT_CHARACTERS_MAX} characters, not blank and without control characters", is_text),
    "words": (f"text of at most {TEXT_CHARACTERS_MAX} characters without control characters", is_words),
    "number": ("a whole number from 1", lambda value: is_whole(value, 1)),
    "count": ("a whole number from 0", lambda value: is_whole(value, 0)),
    "flag": ("true or false", lambda value: isinstance(value, bool)),
    "object": ("an object", lambda value: isinstance(value, Mapping)),
    "share": (
        "a decimal above 0 and at most 1, as text: 0.1 or 1",
        lambda v: isinstance(v, str) and bool(_SHARE.fullmatch(v)),
    ),
    "score": ("passed/rules, as in 9/10", lambda value: isinstance(value, str) and bool(_SCORE.fullmatch(value))),
    "key": ("base64 of an Ed25519 public key", is_key),
    "signature": ("base64 of an Ed25519 signature", lambda value: is_base64(value, 64)),
    "roles": (
        "a list of roles: engineer, approver, operator, auditor, admin",
        lambda v: _is_list(v, _one_of("engineer", "approver", "operator", "auditor", "admin")[1]),
    ),
    "steps": ("steps of growing shares below 1, each with requests_min and seconds_min", _is_steps),
    "objections": ("an object from rule to failed, underpowered or no evidence", _is_objections),
    "ranges": ("ranges [[start, end), ...] in order and apart", _is_ranges),
    "commitments": (
        "a list of commitments, 64 hexadecimal digits each",
        lambda v: _is_list(v, lambda item: isinstance(item, str) and bool(_COMMITMENT.fullmatch(item))),
    ),
    "acts": (
        "a list of acts: infer, labels, operate, metrics",
        lambda v: _is_list(v, _one_of("infer", "labels", "operate", "metrics")[1]),
    ),
    "models": ('a list of models, or ["*"] for every model', lambda v: v == ["*"] or _is_list(v, is_name)),
    "counts": ("an object from words to whole numbers from 1", _is_counts),
    "scope": ("telemetry, decisions, all, or subject:NAME", _is_scope),
    "class": _one_of("telemetry", "decisions"),
    "action": _one_of("roll back", "notify"),
    "level": _one_of("server-attested"),
    "split": _one_of("gate", "release"),
}


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    needed: bool
    expected: str
    holds: Callable[[object], bool]


@dataclass(frozen=True, slots=True)
class Shape:
    """The digests and the data that an event of one type names. It may name more: other digests, other data."""

    refs: frozenset[str]
    """Digests that must be there."""
    lists: frozenset[str]
    """Those of them that are lists of digests."""
    fields: tuple[Field, ...]

    @classmethod
    def parse(cls, refs: str, data: str) -> "Shape":
        """A line of the catalogue.

        `model evidence*` is a digest and a list of digests; `model:name expires:time?` a name, and a time that may be
        absent or null.
        """
        fields = []
        for word in data.split():
            name, _, kind = word.partition(":")
            fields.append(Field(name, not kind.endswith("?"), *_KINDS[kind.removesuffix("?")]))
        names = refs.split()
        lists = frozenset(name.removesuffix("*") for name in names if name.endswith("*"))
        return cls(frozenset(name.removesuffix("*") for name in names), lists, tuple(fields))

    @property
    def data(self) -> frozenset[str]:
        """Names of the fields that must be there."""
        return frozenset(field.name for field in self.fields if field.needed)

    def objections(self, refs: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[str]:
        """Everything that is missing or of another kind than it must be."""
        if not self.refs <= refs.keys():
            for name in sorted(self.refs - refs.keys()):
                yield f"{name} is missing; expected a digest"
        for name, value in refs.items():
            if name in self.lists:
                if not isinstance(value, list | tuple) or not all(map(is_digest, value)):
                    yield f"{name} is {_short(value)}; expected a list of digests"
            elif not is_digest(value):
                yield f"{name} is {_short(value)}; expected sha256: and 64 hexadecimal digits"
        for field in self.fields:
            value = data.get(field.name)
            if not field.holds(value) and (field.needed or value is not None):
                yield f"{field.name} is {_short(value)}; expected {field.expected}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
