"""What can happen. An event is typed, its bytes are made once, and its leaf in the tree hashes those bytes.

An entry of the log is either an event's bytes, or a DSSE envelope around them when a person signed it.
"""

import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pruneguard import canonical
from pruneguard.errors import InvalidInputError
from pruneguard.ledger import dsse
from pruneguard.ledger.shapes import Shape, is_identifier, is_name, is_text, is_time

PAYLOAD_TYPE = "application/vnd.pruneguard.event+json"
KEY_PROOF_TYPE = "application/vnd.pruneguard.key-proof"
ENTRY_BYTES_MAX = 60_000  # C2SP tlog-tiles allows 65,535 an entry; evidence lies out of line, by digest

CATALOGUE: Mapping[str, Shape] = {
    name: Shape.parse(refs, data)
    for name, refs, data in (
        ("ledger.opened", "", "origin:text"),
        ("key.registered", "", "actor:name person:name public_key:key roles:roles"),
        ("key.rotated", "", "actor:name public_key:key proof:signature"),
        ("key.revoked", "", "actor:name reason:text"),
        ("role.granted", "", "actor:name roles:roles"),
        ("role.revoked", "", "actor:name roles:roles reason:text"),
        (
            "policy.adopted",
            "policy",
            "name:name version:number approvals_min:number server_attested:flag waivers:flag on_decay:action "
            "on_lapse:action steps:steps",
        ),
        ("run.started", "manifest", "run:name model:name"),
        ("run.finished", "", "run:name model:name outcome:text"),
        ("data.admitted", "data evidence", "run:name model:name"),
        ("model.trained", "model data", "run:name model:name"),
        ("model.pruned", "model parent data lineage", "run:name model:name recipe:object"),
        ("attempt.failed", "", "run:name model:name recipe:object reason:words too_mild:flag"),
        (
            "verdict.given",
            "model parent data policy verdict evidence*",
            "run:name model:name split:split passed:flag rules:count objections:objections",
        ),
        ("gates.self_tested", "policy report", "run:name model:name refused:count of:number"),
        ("gates.drilled", "policy report", "refused:count of:number clean_passed:count clean_of:number"),
        (
            "waiver.granted",
            "model verdict",
            "model:name rule:text reason:text control:text expires:time before:score after:score",
        ),
        ("release.proposed", "model verdict", "model:name number:number"),
        ("release.approved", "model", "model:name number:number reason:text assurance:level?"),
        ("traffic.shifted", "model", "model:name number:number share:share requests:count? assurance:level?"),
        ("traffic.copied", "model", "model:name number:number share:share? assurance:level?"),
        ("traffic.diverted", "", "model:name to:number? reason:text assurance:level?"),
        ("traffic.restored", "", "model:name reason:text assurance:level?"),
        ("release.held", "model", "model:name number:number reason:text assurance:level?"),
        ("release.resumed", "model", "model:name number:number reason:text assurance:level?"),
        (
            "release.rolled_back",
            "model",
            "model:name number:number to:number reason:text alarm:identifier? assurance:level?",
        ),
        ("batch.sealed", "model batch", "model:name number:number rows:count"),
        ("drift.reported", "model report", "model:name number:number drifted:count"),
        (
            "alarm.raised",
            "model",
            "model:name number:number detector:text cause:text evidence:object waiver:identifier?",
        ),
        (
            "document.attached",
            "",
            "framework:text control:text title:text statement:words expires:time? model:name?",
        ),
        ("hold.placed", "", "hold:name scope:scope reason:text"),
        ("hold.lifted", "", "hold:name reason:text"),
        ("retention.applied", "", "class:class before:time entries:ranges reason:text"),
        ("subject.described", "", "person:name commitments:commitments"),
        ("subject.erased", "", "commitments:commitments basis:text"),
        (
            "token.issued",
            "secret",
            "token:name holder:name acts:acts models:models per_second:number expires:time reason:text",
        ),
        ("token.revoked", "", "token:name reason:text"),
        ("access.denied", "calls", "since:time until:time reasons:counts"),
    )
}

# Acts of a person that only their own key can make. A release may also be approved, and its traffic moved, by a click,
# which is recorded as less: `assurance` says "server-attested", and a policy can refuse it.
SIGNED = frozenset(
    {
        "key.registered",
        "key.rotated",
        "key.revoked",
        "role.granted",
        "role.revoked",
        "policy.adopted",
        "run.started",
        "gates.drilled",
        "waiver.granted",
        "release.proposed",
        "document.attached",
        "hold.placed",
        "hold.lifted",
        "retention.applied",
        "subject.described",
        "subject.erased",
        "token.issued",
        "token.revoked",
    }
)
CLICKED = frozenset(
    {
        "release.approved",
        "release.held",
        "release.resumed",
        "release.rolled_back",
        "traffic.shifted",
        "traffic.copied",
        "traffic.diverted",
        "traffic.restored",
    }
)

TELEMETRY = frozenset({"batch.sealed", "drift.reported", "access.denied"})
"""Events on which no later one rests: the class whose bodies retention may drop. All others are decisions."""


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
        """The event's bytes. Raises InvalidInputError for an unknown type, a misshapen field or over 60,000 bytes."""
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
            },
            whole=True,
        )
        _require_readable(self, len(content))
        if why := list(CATALOGUE[self.type].objections(self.refs, self.data)):
            raise InvalidInputError("; ".join(f"{self.type}: {reason}" for reason in why))
        return content

    @classmethod
    def decode(cls, content: bytes) -> "Event":
        """The event that these bytes are, if they are the one form of it.

        Raises InvalidInputError for what is no event at all. What its type needs and lacks, a rule of the fold says.
        """
        document = canonical.decode_canonical(content)
        try:
            if type(version := document.pop("v")) is not int or version != 1:
                raise InvalidInputError(f"an event of version {version!r}; this program knows version 1")
            event = cls(**document)
        except (KeyError, TypeError, AttributeError) as error:
            raise InvalidInputError(f"malformed event: {error}") from error
        _require_readable(event, len(content))
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
        if len(envelope.signatures) != 1:
            raise InvalidInputError(f"an envelope with {len(envelope.signatures)} signatures; one person signs an act")
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


def key_proof(ledger: str, actor: str, public_key: str) -> bytes:
    """What the new key signs when `key.rotated` puts it in the place of the old one: for this ledger and actor only."""
    return dsse.pae(KEY_PROOF_TYPE, canonical.encode({"ledger": ledger, "actor": actor, "public_key": public_key}))


def _require_readable(event: Event, size: int) -> None:
    """Everything that an event of whichever type has, as it must be."""
    if not isinstance(event.type, str) or event.type not in CATALOGUE:
        raise InvalidInputError(f"unknown event type {event.type!r}; known are {sorted(CATALOGUE)}")
    if not (is_identifier(event.id) and is_name(event.actor) and is_time(event.time)):
        found = (event.id, event.actor, event.time)
        raise InvalidInputError(
            f"{event.type}: id, actor and time are {found}; expected a UUID, a name (a-z 0-9 . _ -, 64 at most) and a "
            "UTC time like 2026-01-02T03:04:05.000000Z"
        )
    if not isinstance(event.ledger, str) or not (event.causation is None or is_text(event.causation)):
        raise InvalidInputError(
            f"{event.type}: ledger is {event.ledger!r}, causation {event.causation!r}; expected the id of a ledger's "
            "first event, and text or null"
        )
    if not isinstance(event.data, Mapping) or not isinstance(event.refs, Mapping):
        raise InvalidInputError(f"{event.type}: data and refs must be objects")
    if size > ENTRY_BYTES_MAX:
        raise InvalidInputError(
            f"{event.type}: {size} bytes; an entry holds {ENTRY_BYTES_MAX}. Store it and name its digest"
        )
