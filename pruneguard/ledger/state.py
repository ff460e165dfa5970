"""What is so, now: the values that the fold builds out of the events. Nothing else in the service is state."""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from operator import itemgetter
from typing import Any

from pruneguard.ledger.events import Event
from pruneguard.policy import Step

BATCHES_KEPT = 1_000
DRIFT_KEPT = 100
DENIALS_KEPT = 100
MARK_EVERY = 256
"""Positions between two marks of the clock: the entries of one full tile."""


class Role(StrEnum):
    ENGINEER = "engineer"  # proposes and runs
    APPROVER = "approver"  # signs releases, policies and waivers
    OPERATOR = "operator"  # moves traffic, rolls back
    AUDITOR = "auditor"  # reads, exports, verifies, places holds
    ADMIN = "admin"  # registers keys; cannot approve


class Act(StrEnum):
    """What a bearer token can be for."""

    INFER = "infer"
    LABELS = "labels"
    OPERATE = "operate"  # moves traffic, rolls back: as far as its holder's roles go
    METRICS = "metrics"


class Status(StrEnum):
    PROPOSED = "proposed"
    APPROVED = "approved"
    CANARY = "canary"
    LIVE = "live"
    RETIRED = "retired"
    ROLLED_BACK = "rolled back"


class Assurance(StrEnum):
    """How surely an act was the person's own."""

    SIGNED = "signed"
    SERVER_ATTESTED = "server-attested"  # the service says so: a click, no signature


@dataclass(frozen=True, slots=True)
class Person:
    """An account: its actor id, the human behind it, who may have others, and what it may do.

    `public_key` (base64, 32 bytes) is None once it was revoked; then there are no roles either.
    """

    actor: str
    person: str
    public_key: str | None
    roles: frozenset[Role]


@dataclass(frozen=True, slots=True)
class AdoptedPolicy:
    """A policy's terms, as `policy.adopted` tells them; the rules lie in the artefact store under `digest`."""

    digest: str
    name: str
    version: int
    approvals_min: int
    on_decay: str
    server_attested: bool
    """Whether an approval without the approver's signature counts."""
    waivers: bool
    """Whether a failed rule may be waived."""
    on_lapse: str
    steps: tuple[Step, ...]
    """The shares that a release takes one after the other before it is live."""
    adopted_by: tuple[str, ...] = field(default=(), compare=False)

    @property
    def terms(self) -> dict[str, Any]:
        """As `policy.adopted` told them, and as `Policy.terms` says them of the document."""
        told = {name: getattr(self, name) for name in self.__slots__ if name not in ("digest", "adopted_by")}
        return told | {"steps": [step.to_document() for step in self.steps]}

    @classmethod
    def of(cls, event: Event) -> "AdoptedPolicy":
        """What a `policy.adopted` event says of the document that it names."""
        terms = (name for name in cls.__slots__ if name not in ("digest", "adopted_by", "steps"))
        steps = tuple(map(Step.of, event.data["steps"]))
        return cls(digest=event.refs["policy"], steps=steps, **{name: event.data[name] for name in terms})


@dataclass(slots=True)
class Run:
    """One walk through the lifecycle. `author` signed its start; `makers` are the persons who made what it released."""

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
    rules: int
    """How many were checked."""
    objections: Mapping[str, str]
    """Rule that did not pass -> failed, underpowered or no evidence."""
    lineage: str | None
    index: int

    def score(self, waived: int = 0) -> str:
        """Rules passed of rules checked, as in 8/10, with so many of the objections waived."""
        return f"{self.rules - len(self.objections) + waived}/{self.rules}"


@dataclass(frozen=True, slots=True)
class Waiver:
    """One failed rule of one exact candidate, taken on by a person until a date. It stays failed, and is shown so."""

    event: str
    model: str
    digest: str
    rule: str
    verdict: str
    reason: str
    control: str
    """What is done instead of passing."""
    granted_by: str
    granted_at: str
    expires: str
    """The first moment at which it does not hold any more."""
    before: str
    after: str
    index: int

    def lapsed(self, clock: str) -> bool:
        return clock >= self.expires


@dataclass(frozen=True, slots=True)
class Approval:
    actor: str
    person: str
    assurance: Assurance
    reason: str
    time: str
    index: int


@dataclass(frozen=True, slots=True)
class Held:
    """Why a release gets no share of the traffic until somebody resumes it."""

    by: str
    reason: str
    time: str


@dataclass(frozen=True, slots=True)
class Diverted:
    """Who has taken the traffic of a model away from its releases, and to which one; None: nothing answers."""

    to: int | None
    by: str
    reason: str
    time: str


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
    """The persons who proposed it or made its model, twin or data: none of them can approve it."""
    status: Status
    proposed_at: str
    approvals_min: int = 1
    """Persons who must agree: what its policy asks for, or the policy that the model comes from, if that is more."""
    clicks: bool = True
    """Whether a server-attested act is enough, by both of these policies."""
    waivers: tuple[str, ...] = ()
    """The failed rules that somebody has taken on: `State.waivers` has who, and until when."""
    approvals: list[Approval] = field(default_factory=list)
    share: float = 0.0
    changed_at: str = ""
    index: int = 0
    """Position of its proposal."""
    live_at: int | None = None
    """Position of the event that made it live; None while none has."""
    stepped_at: str = ""
    """The clock when it took the share it has."""
    comparison: str | None = None
    """What was counted when it was let go on to that share."""
    held: Held | None = None
    shadow: float = 0.0
    """The share of the requests that it answers as well, to be compared and not returned."""

    @property
    def was_live(self) -> bool:
        return self.live_at is not None

    @property
    def approvers(self) -> tuple[str, ...]:
        return tuple(approval.actor for approval in self.approvals)


@dataclass(frozen=True, slots=True)
class Stretch:
    """From `time` on, a release answers this share of the requests; 0 where it stops. Times only go on."""

    number: int
    share: float
    index: int
    time: str


@dataclass(frozen=True, slots=True)
class Answering:
    """A release that took traffic at some moment, and everything it stood on."""

    stretch: Stretch
    release: Release
    verdict: GivenVerdict

    @property
    def decided_by(self) -> tuple[int, ...]:
        """Positions of the entries that put it there: verdict, proposal, approvals, traffic."""
        approvals = (approval.index for approval in self.release.approvals)
        return (self.verdict.index, self.release.index, *approvals, self.stretch.index)


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
    history: list[Stretch] = field(default_factory=list)
    """Every change of what answers, oldest first."""
    batches: deque[Mapping[str, Any]] = field(default_factory=lambda: deque(maxlen=BATCHES_KEPT))
    """Newest sealed batches: the event's `data` with its `refs`, `time`, `index` and `causation` added."""
    drift: deque[Mapping[str, Any]] = field(default_factory=lambda: deque(maxlen=DRIFT_KEPT))
    by_digest: dict[str, GivenVerdict] = field(default_factory=dict)
    """The first verdict of each digest."""
    diverted: Diverted | None = None

    @property
    def live(self) -> Release | None:
        return next((r for r in reversed(self.releases.values()) if r.status is Status.LIVE), None)

    @property
    def canary(self) -> Release | None:
        return next((r for r in self.releases.values() if r.status is Status.CANARY), None)

    @property
    def shadow(self) -> Release | None:
        """What answers copies of requests, unheard."""
        return next((r for r in self.releases.values() if r.shadow), None)

    @property
    def answering(self) -> dict[int, float]:
        """Number -> share of the requests; what is live answers what a canary does not. Empty where nothing may."""
        if self.diverted is not None:
            return {} if self.diverted.to is None else {self.diverted.to: 1.0}
        return {release.number: release.share for release in (self.live, self.canary) if release}

    @property
    def shares(self) -> dict[int, float]:
        """Number -> the share that its newest stretch says; 0 for what answers no more."""
        return {stretch.number: stretch.share for stretch in self.history}

    @property
    def fallback(self) -> Release | None:
        """What a rollback of the live version returns to: the last to go live of those that gave way to a newer one."""
        retired = (r for r in self.releases.values() if r.was_live and r.status is Status.RETIRED)
        return max(retired, key=lambda r: r.live_at or 0, default=None)

    def verdict(self, digest: str) -> GivenVerdict | None:
        return self.by_digest.get(digest)

    def standing(self, at: str) -> tuple[Answering, ...]:
        """What answered at a moment, the largest share first. `at` is a time as events have it."""
        shares: dict[int, Stretch] = {}
        for stretch in self.history:
            if stretch.time > at:
                break
            shares[stretch.number] = stretch
        serving = sorted((s for s in shares.values() if s.share > 0), key=lambda s: -s.share)
        return tuple(
            Answering(stretch, release := self.releases[stretch.number], self.by_digest[release.verdict])
            for stretch in serving
        )


@dataclass(frozen=True, slots=True)
class SelfTest:
    """The gates were fed bad evidence on purpose; `refused` of `of` were refused."""

    run: str
    model: str
    policy: str
    report: str
    refused: int
    of: int
    time: str
    index: int


@dataclass(frozen=True, slots=True)
class Drill:
    """The gates were tried with real artefacts: `refused` of `of` bad ones, and `clean_passed` of `clean_of` others."""

    policy: str
    report: str
    refused: int
    of: int
    clean_passed: int
    clean_of: int
    by: str
    time: str
    index: int


@dataclass(frozen=True, slots=True)
class Attachment:
    """What a person says about a control, with or without a document, until a date if there is one."""

    framework: str
    control: str
    title: str
    statement: str
    document: str | None
    model: str | None
    by: str
    expires: str | None
    time: str
    index: int


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing of its scope is dropped or erased: a class of events, `subject:` and a name, or `all`."""

    hold: str
    scope: str
    reason: str
    by: str
    time: str
    index: int


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token: the log knows the SHA-256 of its text, and who answers for what is done with it."""

    token: str
    secret: str
    """`sha256:` and the digest of the text that a caller sends."""
    holder: str
    acts: frozenset[Act]
    models: frozenset[str]
    """The models it is for; `*` alone is every model."""
    per_second: int
    reason: str
    issued_by: str
    issued_at: str
    expires: str
    """The first moment at which it does not count any more."""
    index: int
    ended: str | None = None
    """Why it counts no more: it was revoked, or the key of its holder was."""


@dataclass(slots=True)
class State:
    """The fold of all events so far. `violations` are entries that broke a rule: recorded, and without effect."""

    size: int = 0
    origin: str = ""
    id: str = ""
    """Id of the event that opened the ledger: what a signed event says that it is meant for."""
    clock: str = ""
    """The latest time of any event that took effect. It never goes back, and expiry is judged by it."""
    people: dict[str, Person] = field(default_factory=dict)
    accounts: dict[str, set[str]] = field(default_factory=dict)
    """Person -> the actors that they are."""
    looks: dict[tuple[str, str], str] = field(default_factory=dict)
    """"actor" or "person", and how such a name looks to a hasty reader -> the one name that looks so."""
    keys: dict[str, str] = field(default_factory=dict)
    """Every public key there ever was -> its actor. No key is used twice."""
    signed: set[str] = field(default_factory=set)
    """Ids of the signed events: what was signed once takes effect once."""
    policies: dict[str, AdoptedPolicy] = field(default_factory=dict)
    """Every policy that is or was in force, by digest."""
    in_force: dict[str, AdoptedPolicy] = field(default_factory=dict)
    """The one of each name that verdicts may be released on."""
    pending: dict[str, AdoptedPolicy] = field(default_factory=dict)
    """Adopted by some, but not by as many persons as the policy that it would replace asks for."""
    runs: dict[str, Run] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)
    makers: dict[str, frozenset[str]] = field(default_factory=dict)
    """Digest of a model or of data -> every person who made it, or what it was made of."""
    waivers: dict[tuple[str, str], Waiver] = field(default_factory=dict)
    """Digest of a candidate and rule -> the newest waiver."""
    alarms: dict[str, Alarm] = field(default_factory=dict)
    """By the id of the event."""
    told: set[str] = field(default_factory=set)
    """Ids of the waivers whose lapse has raised its alarm."""
    self_tests: list[SelfTest] = field(default_factory=list)
    drills: list[Drill] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    holds: dict[str, Hold] = field(default_factory=dict)
    """Those that stand."""
    commitments: dict[str, str] = field(default_factory=dict)
    """Every commitment to a personal value that there ever was -> whose value it is."""
    subjects: dict[str, set[str]] = field(default_factory=dict)
    """Person -> the commitments that stand: those whose values were not erased."""
    erased: dict[str, int] = field(default_factory=dict)
    """Commitment -> position of the event that says its value is gone."""
    tokens: dict[str, Token] = field(default_factory=dict)
    """Every token there ever was, by its name."""
    denials: deque[Mapping[str, Any]] = field(default_factory=lambda: deque(maxlen=DENIALS_KEPT))
    """Newest accounts of denied calls, as `Model.batches` has batches."""
    absent: list[tuple[int, int]] = field(default_factory=list)
    """Ranges [start, end) of entries whose bodies were dropped by retention, in order."""
    skipped: list[tuple[int, int]] = field(default_factory=list)
    """Ranges [start, end) of entries that this fold has not seen."""
    kept: list[int] = field(default_factory=list)
    """Positions that retention may never drop: every entry but the telemetry that took effect."""
    marks: list[str] = field(default_factory=list)
    """The clock after every 256th entry."""
    causations: dict[str, int] = field(default_factory=dict)
    """Causation id -> position of the event it caused: a retried step finds what it did before.

    Of telemetry, only of the newest: as many as `Model.batches`, `Model.drift` and `denials` hold.
    """
    violations: list[tuple[int, str]] = field(default_factory=list)

    def may(self, actor: str, role: Role) -> bool:
        person = self.people.get(actor)
        return person is not None and role in person.roles

    def person(self, actor: str) -> str:
        """Who is behind an account; the account itself where nobody registered one."""
        known = self.people.get(actor)
        return known.person if known else actor

    def superseding(self, policy: str) -> AdoptedPolicy | None:
        """The policy in force that has replaced the one with this digest, if one has."""
        newest = self.in_force[self.policies[policy].name]
        return newest if newest.digest != policy else None

    def binding(self, policy: str, model: str) -> tuple[AdoptedPolicy, ...]:
        """The policies whose terms a release under `policy` meets: its own, and the one that the model comes from.

        That is the one in force under the name of its newest approved release's policy, where that is another name: so
        nobody alone takes a model to laxer terms.
        """
        own = self.policies[policy]
        known = self.models[model].releases.values() if model in self.models else ()
        approved = [release for release in known if release.status is not Status.PROPOSED]
        if not approved:
            return (own,)
        before = self.in_force[self.policies[approved[-1].policy].name]
        return (own,) if before.name == own.name else (own, before)

    def taken_on(self, verdict: GivenVerdict) -> dict[str, Waiver]:
        """By rule: the newest waiver of each objection that a waiver can be for, lapsed or not.

        None is for what was not measured, whatever was waived when it was; nor under a policy that allows none.
        """
        if not self.policies[verdict.policy].waivers:
            return {}
        measured = (rule for rule, outcome in verdict.objections.items() if outcome != "no evidence")
        return {rule: found for rule in measured if (found := self.waivers.get((verdict.candidate, rule)))}

    def waived(self, verdict: GivenVerdict, clock: str) -> dict[str, Waiver]:
        """The objections of a verdict that somebody has taken on, by rule; what has lapsed by then does not count."""
        return {rule: waiver for rule, waiver in self.taken_on(verdict).items() if not waiver.lapsed(clock)}

    def lapsed(self, release: Release, clock: str) -> list[Waiver]:
        """The waivers on which a release rests and which do not hold any more."""
        newest = (self.waivers[release.digest, rule] for rule in release.waivers)
        return [waiver for waiver in newest if waiver.lapsed(clock)]

    def settled(self, alarm: Alarm) -> bool:
        """Whether somebody has extended the waiver whose lapse an alarm is about; no other alarm is settled so."""
        waiver = alarm.data.get("waiver")
        return waiver is not None and all(waiver != newest.event for newest in self.waivers.values())

    def unexplained(self, missing: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Of ranges of entries without a body, what retention has not dropped: from the first such position on."""
        for start, end in missing:
            at = start
            while at < end:
                place = bisect_right(self.absent, at, key=itemgetter(0)) - 1
                if place < 0 or self.absent[place][1] <= at:
                    yield at, end
                    break
                at = self.absent[place][1]

    def droppable(self, before: str) -> Iterator[tuple[int, int]]:
        """Ranges of telemetry from before a time whose bodies retention may drop, in order: whole tiles' worth.

        None reaches beyond the last multiple of 256 entries by which the clock had not come to `before`.
        """
        boundary = MARK_EVERY * bisect_left(self.marks, before)
        stops = sorted([(at, at + 1) for at in self.kept[: bisect_left(self.kept, boundary)]] + self.absent)
        start = 0
        for stop, behind in [*stops, (boundary, boundary)]:
            if start < min(stop, boundary):
                yield start, min(stop, boundary)
            start = max(start, behind)
