"""What is so, now: the values that the fold builds out of the events. Nothing else in the service is state."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pruneguard.ledger.events import Event


class Role(StrEnum):
    ENGINEER = "engineer"  # proposes and runs
    APPROVER = "approver"  # signs releases and policies
    OPERATOR = "operator"  # rolls back
    AUDITOR = "auditor"  # reads, exports, verifies
    ADMIN = "admin"  # registers keys; cannot approve


class Status(StrEnum):
    PROPOSED = "proposed"
    APPROVED = "approved"
    CANARY = "canary"
    LIVE = "live"
    RETIRED = "retired"
    ROLLED_BACK = "rolled back"


@dataclass(frozen=True, slots=True)
class Person:
    """Who can sign: an actor's id, their Ed25519 public key (base64, 32 bytes) and roles."""

    actor: str
    public_key: str
    roles: frozenset[Role]


@dataclass(frozen=True, slots=True)
class AdoptedPolicy:
    digest: str
    name: str
    version: int
    approvals_min: int
    on_decay: str

    @classmethod
    def of(cls, event: Event) -> "AdoptedPolicy":
        """What a `policy.adopted` event says of the document that it names."""
        data = event.data
        return cls(event.refs["policy"], data["name"], data["version"], data["approvals_min"], data["on_decay"])


@dataclass(slots=True)
class Run:
    """One walk through the lifecycle. `author` signed its start; `makers` are all who made what it released."""

    id: str
    model: str
    manifest: str
    author: str
    makers: set[str]
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class GivenVerdict:
    """A verdict as the log names it; the document with every finding lies in the artefact store under `digest`."""

    digest: str
    run: str
    candidate: str
    twin: str
    data: str
    policy: str
    evidence: tuple[str, ...]
    split: str
    """Which rows it was measured on: `gate` for the search, `release` for the final verdict."""
    passed: bool
    objections: tuple[str, ...]
    lineage: str | None
    index: int


@dataclass(slots=True)
class Release:
    """One version of a model on its way to traffic, or away from it."""

    number: int
    model: str
    digest: str
    twin: str
    verdict: str
    policy: str
    author: str
    makers: frozenset[str]
    status: Status
    proposed_at: str
    approvals: list[str] = field(default_factory=list)
    share: float = 0.0
    changed_at: str = ""
    live_at: int | None = None
    """Position of the event that made it live; None while none has."""

    @property
    def was_live(self) -> bool:
        return self.live_at is not None


@dataclass(frozen=True, slots=True)
class Alarm:
    event: str
    model: str
    number: int
    detector: str
    cause: str
    time: str
    data: Mapping[str, Any]


@dataclass(slots=True)
class Model:
    """A named model: its releases by number, what its traffic goes to, and what was seen of it."""

    name: str
    releases: dict[int, Release] = field(default_factory=dict)
    verdicts: list[GivenVerdict] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    batches: deque[Mapping[str, Any]] = field(default_factory=lambda: deque(maxlen=1_000))
    """Newest sealed batches: the event's `data` with its `refs`, `time` and `index` added."""
    drift: deque[Mapping[str, Any]] = field(default_factory=lambda: deque(maxlen=100))

    @property
    def live(self) -> Release | None:
        return next((r for r in self.releases.values() if r.status is Status.LIVE), None)

    @property
    def canary(self) -> Release | None:
        return next((r for r in self.releases.values() if r.status is Status.CANARY), None)

    @property
    def fallback(self) -> Release | None:
        """What a rollback of the live version returns to: the last to go live of those that gave way to a newer one."""
        retired = (r for r in self.releases.values() if r.was_live and r.status is Status.RETIRED)
        return max(retired, key=lambda r: r.live_at or 0, default=None)

    def verdict(self, digest: str) -> GivenVerdict | None:
        return next((verdict for verdict in self.verdicts if verdict.digest == digest), None)


@dataclass(slots=True)
class State:
    """The fold of all events so far. `violations` are entries that broke a rule: recorded, and without effect."""

    size: int = 0
    origin: str = ""
    id: str = ""
    """Id of the event that opened the ledger: what a signed event says that it is meant for."""
    people: dict[str, Person] = field(default_factory=dict)
    policies: dict[str, AdoptedPolicy] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)
    makers: dict[str, set[str]] = field(default_factory=dict)
    """Digest of a model or of data -> everybody who made it, in whichever run."""
    causations: dict[str, int] = field(default_factory=dict)
    """Causation id -> position of the event it caused: a retried step finds what it did before."""
    violations: list[tuple[int, str]] = field(default_factory=list)

    def may(self, actor: str, role: Role) -> bool:
        person = self.people.get(actor)
        return person is not None and role in person.roles

    def superseding(self, policy: str) -> AdoptedPolicy | None:
        """The newest adopted policy of the same name and a higher version than the one with this digest."""
        own = self.policies[policy]
        newer = (p for p in self.policies.values() if p.name == own.name and p.version > own.version)
        return max(newer, key=lambda p: p.version, default=None)
