"""What can happen. An event is typed, its bytes are made once, and its leaf in the tree hashes those bytes.

An entry of the log is either an event's bytes, or a DSSE envelope around them when a person signed it.
"""

import os
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pruneguard import canonical
from pruneguard.errors import InvalidInputError
from pruneguard.ledger import dsse

PAYLOAD_TYPE = "application/vnd.pruneguard.event+json"
ENTRY_BYTES_MAX = 60_000  # C2SP tlog-tiles allows 65,535 an entry; evidence lies out of line, by digest

# Type of event -> (the digests it must name, the data it must carry). Both may hold more.
CATALOGUE: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    name: (frozenset(refs.split()), frozenset(data.split()))
    for name, refs, data in (
        ("ledger.opened", "", "origin"),
        ("key.registered", "", "actor person public_key roles"),
        ("key.rotated", "", "actor public_key proof"),
        ("key.revoked", "", "actor reason"),
        ("role.granted", "", "actor roles"),
        ("role.revoked", "", "actor roles reason"),
        ("policy.adopted", "policy", "name version approvals_min on_decay"),
        ("run.started", "manifest", "run model"),
        ("run.finished", "", "run model outcome"),
        ("data.admitted", "data evidence", "run model"),
        ("model.trained", "model data", "run model"),
        ("model.pruned", "model parent data lineage", "run model recipe"),
        ("verdict.given", "model parent data policy verdict evidence", "run model split passed objections"),
        ("gates.self_tested", "policy report", "run model refused of"),
        ("waiver.granted", "model verdict", "model rule reason control expires before after"),
        ("release.proposed", "model verdict", "model number"),
        ("release.approved", "model", "model number reason"),
        ("traffic.shifted", "model", "model number share"),
        ("release.rolled_back", "model", "model number to reason"),
        ("batch.sealed", "batch", "model number rows"),
        ("drift.reported", "report", "model number drifted"),
        ("alarm.raised", "", "model number detector cause evidence"),
        ("document.attached", "", "framework control title statement"),
        ("hold.placed", "", "hold scope reason"),
        ("hold.lifted", "", "hold reason"),
        ("retention.applied", "", "class before entries reason"),
        ("subject.erased", "", "commitments basis"),
    )
}

# Acts of a person: only their own key can make them. A rollback may also come from a monitor or the dashboard.
SIGNED = frozenset({"key.registered", "policy.adopted", "run.started", "release.proposed", "release.approved"})

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. Numbers that are not whole travel as text; digests go in `refs`."""

    type: str
    actor: str
    data: Mapping[str, Any]
    refs: Mapping[str, Any] = field(default_factory=dict)
    causation: str | None = None
    ledger: str = ""
    """Which ledger a signature is meant for, by the id of its first event; `Ledger.record` fills it in."""
    id: str = field(default_factory=lambda: str(uuid7()))
    time: str = field(default_factory=lambda: utc(datetime.now(UTC)))

    def encode(self) -> bytes:
        """The event's bytes. Raises InvalidInputError for an unknown type, a missing field or over 60,000 bytes."""
        content = canonical.encode(
            {
                "v": 1,
                "type": self.type,
                "id": self.id,
                "time": self.time,
                "actor": self.actor,
                "refs": dict(self.refs),
                "data": dict(self.data),
                "causation": self.causation,
                "ledger": self.ledger,
            }
        )
        _check(self, len(content))
        return content

    @classmethod
    def decode(cls, content: bytes) -> "Event":
        document = canonical.decode(content)
        try:
            if document.pop("v") != 1:
                raise InvalidInputError("this event has an unknown version; this program knows version 1")
            event = cls(**document)
        except (KeyError, TypeError, AttributeError) as error:
            raise InvalidInputError(f"malformed event: {error}") from error
        _check(event, len(content))
        return event


@dataclass(frozen=True, slots=True)
class Entry:
    """A log entry, parsed: the event and, where a person signed it, the envelope that proves it."""

    event: Event
    envelope: dsse.Envelope | None

    @classmethod
    def decode(cls, content: bytes) -> "Entry":
        if not dsse.is_envelope(content):
            return cls(Event.decode(content), None)
        envelope = dsse.Envelope.decode(content)
        if envelope.payload_type != PAYLOAD_TYPE:
            raise InvalidInputError(f"an envelope of type {envelope.payload_type!r}; the log holds {PAYLOAD_TYPE!r}")
        return cls(Event.decode(envelope.payload), envelope)


def uuid7() -> uuid.UUID:
    """A time-ordered identifier (RFC 9562, version 7)."""
    millis = time.time_ns() // 1_000_000
    value = (millis & (2**48 - 1)) << 80 | int.from_bytes(os.urandom(10), "big")
    return uuid.UUID(int=value & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62)


def utc(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds.

    >>> utc(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2026-01-02T03:04:05.000000Z'
    """
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _check(event: Event, size: int) -> None:
    if event.type not in CATALOGUE:
        raise InvalidInputError(f"unknown event type {event.type!r}; known are {sorted(CATALOGUE)}")
    texts = (event.id, event.time, event.actor)
    if not all(isinstance(text, str) and text for text in texts) or not _TIME.fullmatch(event.time):
        raise InvalidInputError(f"{event.type}: id, actor and time (RFC 3339, UTC) must be given; found {texts}")
    if not isinstance(event.ledger, str):
        raise InvalidInputError(f"{event.type}: ledger is {event.ledger!r}; expected the id of a ledger's first event")
    if not isinstance(event.data, Mapping) or not isinstance(event.refs, Mapping):
        raise InvalidInputError(f"{event.type}: data and refs must be objects")
    refs, data = CATALOGUE[event.type]
    if missing := sorted((refs - event.refs.keys()) | (data - event.data.keys())):
        raise InvalidInputError(f"{event.type}: {missing} missing")
    if size > ENTRY_BYTES_MAX:
        raise InvalidInputError(
            f"{event.type}: {size} bytes; an entry holds {ENTRY_BYTES_MAX}. Store it and name its digest"
        )
