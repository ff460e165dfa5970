"""Ledgers by chance: what people and the service could do next, mostly right and, where asked for, at times wrong."""

import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pruneguard import canonical
from pruneguard.comparison import Aspect
from pruneguard.evidence import Estimate, Evidence
from pruneguard.gates import judge
from pruneguard.gates.exhibits import ArtefactTest, Exhibit
from pruneguard.ledger import dsse, fold
from pruneguard.ledger.events import CLICKED, PAYLOAD_TYPE, SIGNED, Entry, Event, utc
from pruneguard.ledger.keys import Signer
from pruneguard.ledger.state import Release, Role, State, Status
from pruneguard.policy import Action, Canary, Policy, Rule, Step
from pruneguard.releases import onward
from pruneguard.streams import Tally
from pruneguard.testing import MONITOR, ORIGIN, compared

ACTORS = ("root", "ruth", "ada", "ada.2", "grace", "grace-b", "hank", "otto", "audrey", "adal")
PERSONS = {"ada.2": "ada", "grace-b": "grace", "ruth": "ruth"}
MODELS = ("digits", "letters")
ROLES = {
    "root": ["admin"],
    "ruth": ["admin", "auditor"],
    "ada": ["engineer"],
    "ada.2": ["approver"],  # the same human: approves nothing that ada made
    "grace": ["approver"],
    "grace-b": ["approver", "operator"],
    "hank": ["approver", "engineer"],
    "otto": ["operator"],
    "audrey": ["auditor"],
}
START = datetime(2026, 1, 5, 9, tzinfo=UTC)


@cache
def key(name: str, generation: int = 0) -> Ed25519PrivateKey:
    seed = canonical.digest(f"{name} {generation}".encode()).removeprefix("sha256:")
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))


@cache
def policy(name: str, version: int) -> Policy:
    rules = (
        Rule("accuracy", "at_least", "quality.accuracy", {"limit": 0.9}, "users count on it", "train longer"),
        Rule("calibration", "at_most", "calibration.ece", {"limit": 0.05}, "scores are read", "calibrate"),
        Rule("speed", "at_most", "efficiency.latency_ratio", {"limit": 1}, "the point", "round up"),
    )
    strict = version % 2 == 0
    return Policy(
        name,
        version,
        f"What {name} must prove.",
        rules,
        approvals_min=1 + strict,
        on_decay=Action.NOTIFY if version % 3 == 0 else Action.ROLL_BACK,
        server_attested=not strict,
        waivers=version % 4 != 3,
        canary=Canary((Step(0.1, 200, 3600 * strict),) if strict else (Step(0.1, 200), Step(0.25, 500))),
        on_lapse=Action.ROLL_BACK if version % 3 == 0 else Action.NOTIFY,
    )


Act: TypeAlias = Callable[["History"], Event | None]


@dataclass
class History:
    """A ledger that grows by `step`. `wrong` is the share of acts that are changed before they are made.

    The product's own fold, which may be what is tested, only guides the choice of what is likely to be accepted.
    """

    seed: int
    wrong: float = 0.0
    state: State = field(default_factory=State)
    documents: dict[str, bytes] = field(default_factory=dict)
    entries: list[bytes] = field(default_factory=list)
    now: datetime = START

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.keys: dict[str, int] = {}
        self.leading = False
        wrong, self.wrong = self.wrong, 0.0  # the first entries are as they must be
        self._add(self._event("ledger.opened", MONITOR, {"origin": ORIGIN}))
        for actor in ACTORS[:-1]:
            if self.chance.random() < 0.9 or not self.keys:
                self._add(self._registration(actor, "root"))
        self.wrong = wrong

    def lead(self) -> None:
        """Most of the way from a policy to a version that answers, as far as chance has it."""
        self.leading = True
        for act in PATH:
            any(self.step(act) for _ in range(15))
        self.leading = False

    def step(self, act: Act | None = None) -> bytes | None:
        """The next entry, appended; None when what came up may not happen now and nothing wrong is asked for."""
        self.now += timedelta(seconds=self.chance.choice((1, 60, 3600, 86_400)))
        act = act or self.chance.choices(list(ACTS), list(ACTS.values()))[0]
        event = act(self)
        if event is None:
            return None
        if self.chance.random() < self.wrong:
            event = self._spoiled(event)
        return self._add(event)

    # -- acts

    def open_again(self) -> Event | None:
        return self._event("ledger.opened", MONITOR, {"origin": "other"}) if self.wrong else None

    def register(self) -> Event:
        actor = self.chance.choice(ACTORS)
        return self._registration(actor, self._one_with(Role.ADMIN))

    def rotate(self) -> Event:
        actor = self._anybody()
        signer = Signer(actor, key(actor, self.keys.get(actor, 0) + 1))
        data = {"actor": actor, "public_key": signer.public_key, "proof": signer.prove(self.state.id)}
        return self._event("key.rotated", actor, data)

    def revoke(self) -> Event:
        return self._event("key.revoked", self._one_with(Role.ADMIN), {"actor": self._anybody(), "reason": "lost"})

    def grant(self) -> Event:
        data = {"actor": self._anybody(), "roles": [self.chance.choice(list(Role)).value]}
        return self._event("role.granted", self._one_with(Role.ADMIN), data)

    def ungrant(self) -> Event:
        person = self.state.people[self._anybody()]
        data = {"actor": person.actor, "roles": [role.value for role in sorted(person.roles)[:1]] or ["admin"]}
        return self._event("role.revoked", self._one_with(Role.ADMIN), {**data, "reason": "moved on"})

    def adopt(self) -> Event:
        in_force = self.state.in_force.get("tight")
        version = (in_force.version if in_force else 0) + self.chance.choice((0, 1, 1, 2))
        chosen = self.chance.choice([policy("tight", version or 1), policy("loose", 1), policy("loose", 2)])
        return self._event(
            "policy.adopted", self._one_with(Role.APPROVER), chosen.terms, policy=self._put(chosen.encode())
        )

    def start(self) -> Event:
        run, model = f"run-{len(self.state.runs) + 1}", self.chance.choice(MODELS)
        manifest = self._put(canonical.encode({"kind": "manifest/v1", "model": model}))
        return self._event(
            "run.started", self._one_with(Role.ENGINEER), {"run": run, "model": model}, manifest=manifest
        )

    def finish(self) -> Event | None:
        return self._work("run.finished", {"outcome": "proposed"})

    def admit(self) -> Event | None:
        data = self._data()
        evidence = self._put(Evidence(data, None, data, {"data.leakage": Estimate(0.0, n=9)}).encode())
        more = {"model": digest_of("candidate", 0)} if self.chance.random() < self.wrong else {}
        return self._work("data.admitted", {}, data=data, evidence=evidence, **more)

    def train(self) -> Event | None:
        return self._work("model.trained", {}, model=digest_of("twin", self._one_of(2)), data=self._data())

    def prune(self) -> Event | None:
        twin = digest_of("twin", self._one_of(2))
        candidate = digest_of("candidate", self._one_of(4))
        lineage = self._put(canonical.encode({"kind": "lineage/v1", "dense": twin, "candidate": candidate}))
        return self._work(
            "model.pruned",
            {"recipe": {"ratio": "0.5"}},
            model=candidate,
            parent=twin,
            data=self._data(),
            lineage=lineage,
        )

    def try_in_vain(self) -> Event | None:
        told = {"recipe": {"ratio": "0.5"}, "reason": "no heads", "too_mild": self.chance.random() < 0.5}
        return self._work("attempt.failed", told)

    def judge(self) -> Event | None:
        if not self.state.policies:
            return None
        known = self.chance.choice(list(self.state.in_force.values()))
        number, twin, data = self._one_of(4), digest_of("twin", self._one_of(2)), self._data()
        candidate, split = digest_of("candidate", number), ("release", "release", "gate")[self._one_of(3)]
        evidence = measured(candidate, twin, data, split, bad=number)
        rules = policy(known.name, known.version)
        verdict = judge(rules, [evidence], candidate=candidate, twin=twin, data=data)
        refs = {"model": candidate, "parent": twin, "data": data, "policy": known.digest, "verdict": verdict.digest}
        self._put(verdict.encode())
        found = {"split": split, **verdict.outline}
        return self._work("verdict.given", found, **refs, evidence=[self._put(evidence.encode())])

    def self_test(self) -> Event | None:
        if not self.wrong or not self.state.policies:
            return None  # a verifier holds the trial again, and there was none
        refs = {"policy": self.chance.choice(sorted(self.state.policies)), "report": digest_of("report", 1)}
        return self._work("gates.self_tested", {"refused": self.chance.choice((3, 3, 4)), "of": 3}, **refs)

    def drill(self) -> Event | None:
        if not self.state.in_force:
            return None
        known = self.chance.choice(list(self.state.in_force.values()))
        test = drilled(known.name, known.version)
        refs = {"policy": known.digest, "report": self._put(test.encode())}
        return self._event("gates.drilled", self._one_with(Role.ENGINEER), test.outline, **refs)

    def waive(self) -> Event | None:
        noes = [(m.name, v) for m in self.state.models.values() for v in m.verdicts if v.objections]
        if not noes:
            return None
        model, verdict = self.chance.choice(noes)
        expires = self.now + timedelta(days=self.chance.choice((1, 30, 89)))
        data = {"model": model, "rule": self.chance.choice(sorted(verdict.objections)), "reason": "r", "control": "c"}
        scores = {"expires": utc(expires), "before": verdict.score(), "after": verdict.score(1)}
        refs = {"model": verdict.candidate, "verdict": verdict.digest}
        return self._event("waiver.granted", self._one_with(Role.APPROVER), data | scores, **refs)

    def propose(self) -> Event | None:
        given = [(m, v) for m in self.state.models.values() for v in m.verdicts if v.split == "release"]
        if not given:
            return None
        model, verdict = self.chance.choice(given)
        data = {"model": model.name, "number": len(model.releases) + 1}
        refs = {"model": verdict.candidate, "verdict": verdict.digest}
        return self._event("release.proposed", self._one_with(Role.ENGINEER), data, **refs)

    def approve(self) -> Event | None:
        return self._about(self._one_with(Role.APPROVER), "release.approved", Status.PROPOSED, reason="good")

    def shift(self) -> Event | None:
        release = self._release(Status.APPROVED, Status.CANARY)
        if release is None:
            return None
        actor = self.chance.choice((MONITOR, self._one_with(Role.OPERATOR)))
        share = onward(self.state, release)
        if self.chance.random() < self.wrong:
            share = self.chance.choice((0.1, 0.25, 1))
        data = {"model": release.model, "number": release.number, "share": f"{share:g}"}
        refs = {"model": release.digest}
        if actor == MONITOR and release.share in (0.1, 0.25):
            seen = compared(self.state, model=release.model, number=release.number)
            refs["comparison"] = self._put(seen.encode())
            data["requests"] = seen.requests - (self.chance.random() < self.wrong)
        return self._event("traffic.shifted", actor, data, **refs)

    def copy(self) -> Event | None:
        actor = self.chance.choice((MONITOR, self._one_with(Role.OPERATOR)))
        share = self.chance.choice(("0.2", "0.2", None))
        return self._about(actor, "traffic.copied", Status.APPROVED, share=share)

    def pause(self) -> Event | None:
        kind = self.chance.choice(("release.held", "release.held", "release.resumed"))
        return self._about(self._one_with(Role.OPERATOR), kind, Status.APPROVED, Status.CANARY, reason="a look")

    def let_go_on(self) -> Event | None:
        held = [r for m in self.state.models.values() for r in m.releases.values() if r.held is not None]
        if not held:
            return None
        release = self.chance.choice(held)
        data = {"model": release.model, "number": release.number, "reason": "looked"}
        return self._event("release.resumed", self._one_with(Role.OPERATOR), data, model=release.digest)

    def divert(self) -> Event | None:
        model = self.state.models.get(self.chance.choice(MODELS))
        if model is None:
            return None
        data: dict[str, Any] = {"model": model.name, "to": None, "reason": "worse"}
        refs: dict[str, str] = {}
        if model.releases and self.chance.random() < 0.7:
            release = self.chance.choice(list(model.releases.values()))
            data["to"], refs["model"] = release.number, release.digest
        return self._event("traffic.diverted", self._one_with(Role.OPERATOR), data, **refs)

    def restore(self) -> Event | None:
        diverted = [model.name for model in self.state.models.values() if model.diverted]
        if not diverted and not self.wrong:
            return None
        data = {"model": self.chance.choice(diverted or list(MODELS)), "reason": "mended"}
        return self._event("traffic.restored", self._one_with(Role.OPERATOR), data)

    def roll_back(self) -> Event | None:
        release = self._release(Status.CANARY, Status.LIVE)
        if release is None:
            return None
        model = self.state.models[release.model]
        target = model.live if release.status is Status.CANARY else model.fallback
        data: dict[str, Any] = {"model": model.name, "number": release.number, "reason": "worse"}
        data["to"] = target.number if target else 1
        actor = self._one_with(Role.OPERATOR)
        if model.alarms and self.chance.random() < 0.7:
            actor, alarm = MONITOR, self.chance.choice(model.alarms[-3:])
            data["alarm"] = alarm.event
        return self._event("release.rolled_back", actor, data, model=release.digest)

    def seal(self) -> Event | None:
        refs = {"batch": digest_of("batch", len(self.entries))}
        return self._about(
            MONITOR, "batch.sealed", Status.CANARY, Status.LIVE, refs=refs, rows=self.chance.randrange(9)
        )

    def drift(self) -> Event | None:
        refs = {"report": self._put(canonical.encode({"kind": "drift", "at": len(self.entries)}))}
        return self._about(MONITOR, "drift.reported", Status.CANARY, Status.LIVE, refs=refs, drifted=0)

    def alarm(self) -> Event | None:
        release = self._release(Status.CANARY, Status.LIVE)
        if release is None:
            return None
        data = {"model": release.model, "number": release.number, "detector": "twin", "cause": "data", "evidence": {}}
        if release.status is Status.CANARY and self.chance.random() < 0.3:
            seen = compared(self.state, model=release.model, number=release.number)
            worse = {Aspect.FAILED: (Tally(9, 200, 2, 60),)}
            stopped = self._put(replace(seen, tallies=worse).encode())
            return self._event(
                "alarm.raised", MONITOR, data | {"detector": "canary"}, model=release.digest, comparison=stopped
            )
        lapsed = self.state.lapsed(release, utc(self.now)) if release.waivers else []
        if lapsed and self.chance.random() < 0.8:
            data |= {"detector": "waiver", "waiver": self.chance.choice(lapsed).event}
        return self._event("alarm.raised", MONITOR, data, model=release.digest)

    def attach(self) -> Event:
        data: dict[str, Any] = {"framework": "nist-ai-rmf", "control": "govern-1.1", "title": "t", "statement": "s"}
        if self.chance.random() < 0.5:
            data["expires"] = utc(self.now + timedelta(days=30))
        if self.state.models and self.chance.random() < 0.5:
            data["model"] = self.chance.choice(sorted(self.state.models))
        return self._event("document.attached", self._anybody(), data)

    def hold(self) -> Event:
        scope = self.chance.choice(("all", "telemetry", "decisions", "subject:s1", "subject:s2"))
        return self._event(
            "hold.placed", self._keeper(), {"hold": f"h{self.chance.randrange(3)}", "scope": scope, "reason": "r"}
        )

    def lift(self) -> Event:
        name = self.chance.choice([*self.state.holds, "h0"])
        return self._event("hold.lifted", self._keeper(), {"hold": name, "reason": "over"})

    def drop(self) -> Event | None:
        before = utc(self.now - timedelta(days=self.chance.choice((184, 184, 120)) if self.wrong else 184))
        ranges = [list(pair) for pair in self.state.droppable(before)]
        if self.wrong and self.chance.random() < 0.3:
            start = self.chance.randrange(300)
            ranges = [[start, start + 1]] if self.chance.random() < 0.8 else [*ranges, [9_000, 9_001]]
        if not ranges:
            return None
        data = {"class": "telemetry", "before": before, "entries": ranges, "reason": "old"}
        return self._event("retention.applied", self._one_with(Role.ADMIN), data)

    def describe(self) -> Event:
        data = {"person": self.chance.choice(("s1", "s2")), "commitments": [self._commitment()]}
        return self._event("subject.described", self._keeper(), data)

    def erase(self) -> Event:
        standing = sorted(self.state.commitments) or [self._commitment()]
        return self._event(
            "subject.erased", self._keeper(), {"commitments": [self.chance.choice(standing)], "basis": "b"}
        )

    def issue(self) -> Event:
        holder = self._anybody()
        acts = ["infer"] if self.chance.random() < 0.7 else ["metrics", "operate"]
        if "operate" in acts:
            holder = self._one_with(Role.OPERATOR)
        models = self.chance.choice((["*"], [self.chance.choice(MODELS)], list(MODELS)))
        data = {"token": f"t{self._one_of(30)}", "holder": holder, "acts": acts, "models": models, "per_second": 50}
        data |= {"expires": utc(self.now + timedelta(days=self.chance.choice((1, 300, 366)))), "reason": "r"}
        return self._event("token.issued", self._one_with(Role.ADMIN), data, secret=digest_of("secret", 1))

    def end_token(self) -> Event | None:
        if not self.state.tokens:
            return None
        token = self.chance.choice(list(self.state.tokens.values()))
        by = self.chance.choice((token.holder, self._one_with(Role.ADMIN)))
        return self._event("token.revoked", by, {"token": token.token, "reason": "lost"})

    def deny(self) -> Event:
        data = {"since": utc(self.now), "until": utc(self.now + timedelta(seconds=9)), "reasons": {"no token": 3}}
        return self._event("access.denied", MONITOR, data, calls=digest_of("calls", len(self.entries)))

    # -- parts

    def _add(self, event: Event) -> bytes | None:
        raw = self._signed(event)
        entry = Entry.decode(raw)
        if self.wrong:
            fold.apply(self.state, len(self.entries), entry)
        elif fold.admit(self.state, entry):
            return None
        self.entries.append(raw)
        for actor in self.state.people:  # a key that took its place
            while (
                self.state.people[actor].public_key == Signer(actor, key(actor, self.keys.get(actor, 0) + 1)).public_key
            ):
                self.keys[actor] = self.keys.get(actor, 0) + 1
        return raw

    def _signed(self, event: Event) -> bytes:
        chance = self.chance.random()
        signs = event.type in SIGNED or (
            event.type in CLICKED and event.actor != MONITOR and "assurance" not in event.data
        )
        if self.wrong and chance < self.wrong / 4:
            signs = not signs
        content = encoded(event)
        if not signs:
            return content
        signer = self.chance.choice(ACTORS) if self.wrong and chance > 1 - self.wrong / 4 else event.actor
        signing = key(signer, self.keys.get(signer, 0))
        return dsse.Envelope.sign(content, PAYLOAD_TYPE, keyid=signer, key=signing).encode()

    def _event(self, type_: str, actor: str, data: dict[str, Any], /, **refs: Any) -> Event:
        at = self.now + timedelta(microseconds=len(self.entries))
        if self.wrong and self.chance.random() < 0.05:
            at -= timedelta(days=self.chance.randrange(200))  # a clock that was set back
        if type_ in CLICKED and actor != MONITOR and self.chance.random() < 0.4:
            data = {**data, "assurance": "server-attested"}
        causation = None
        if self.chance.random() < 0.3:
            causation = f"step-{self.chance.randrange(500 if self.wrong else 10**9)}"
        identifier = uuid.UUID(int=self.seed << 64 | len(self.entries) | 1 << 100)
        return Event(type_, actor, data, refs, causation, self.state.id, str(identifier), utc(at))

    def _spoiled(self, event: Event) -> Event:
        data, refs = dict(event.data), dict(event.refs)
        actor, ledger, identifier = event.actor, event.ledger, event.id
        what = self.chance.choice(
            ("actor", "ref", "number", "field", "field", "field", "ledger", "id", "level", "more")
        )
        if what == "actor":
            actor = self.chance.choice((*ACTORS, MONITOR))
        elif what == "ref" and refs:
            name = self.chance.choice(sorted(refs))
            other = digest_of(self.chance.choice(("candidate", "twin", "rows", "nothing")), self.chance.randrange(2))
            refs[name] = [other] if isinstance(refs[name], list) else other
        elif what == "number" and "number" in data:
            data["number"] = self.chance.randrange(1, 6)
        elif what == "field" and (known := sorted(OTHER.keys() & data.keys())):
            name = self.chance.choice(known)
            data[name] = self.chance.choice(OTHER[name])
        elif what == "ledger":
            ledger = ""
        elif what == "id":
            identifier = self.chance.choice([*self.state.alarms, *self.state.signed])
        elif what == "level":
            data.pop("assurance", None)
        elif what == "more":
            refs.setdefault(self.chance.choice(("model", "parent", "data", "document")), digest_of("twin", 0))
        return Event(event.type, actor, data, refs, event.causation, ledger, identifier, event.time)

    def _registration(self, actor: str, by: str) -> Event:
        known = self.state.people.get(actor)
        if known is not None and known.public_key is None:
            self.keys[actor] = self.keys.get(actor, 0) + 1
        self.keys.setdefault(actor, 0)
        roles = ROLES.get(actor, ["engineer"])
        if actor not in ROLES or self.chance.random() < 0.1:
            roles = sorted({role.value for role in self.chance.sample(list(Role), 2)})
        if not self.state.people:
            roles = ["admin"]
        public = Signer(actor, key(actor, self.keys[actor])).public_key
        data = {"actor": actor, "person": PERSONS.get(actor, actor), "public_key": public, "roles": roles}
        return self._event("key.registered", by, data)

    def _work(self, type_: str, found: dict[str, Any], /, **refs: Any) -> Event | None:
        running = [run for run in self.state.runs.values() if run.outcome is None] or list(self.state.runs.values())
        if not running:
            return None
        run = self.chance.choice(running[-4:])
        return self._event(type_, self._one_with(Role.ENGINEER), {"run": run.id, "model": run.model, **found}, **refs)

    def _about(self, actor: str, type_: str, *statuses: Status, refs: Any = None, **data: Any) -> Event | None:
        release = self._release(*statuses)
        if release is None:
            return None
        about = {"model": release.model, "number": release.number}
        return self._event(type_, actor, {**about, **data}, model=release.digest, **(refs or {}))

    def _release(self, *statuses: Status) -> Release | None:
        every = [r for m in self.state.models.values() for r in m.releases.values()]
        likely = [release for release in every if release.status in statuses]
        if self.wrong and self.chance.random() < 0.1:
            likely = every
        return self.chance.choice(likely) if likely else None

    def _anybody(self) -> str:
        return self.chance.choice(list(self.state.people))

    def _one_with(self, *roles: Role) -> str:
        likely = [actor for actor, person in self.state.people.items() if person.roles & set(roles)]
        return self.chance.choice(likely) if likely else self._anybody()

    def _keeper(self) -> str:
        return self._one_with(Role.AUDITOR, Role.ADMIN)

    def _data(self) -> str:
        return digest_of("rows", self._one_of(2))

    def _one_of(self, count: int) -> int:
        return 0 if self.leading else self.chance.randrange(count)

    def _commitment(self) -> str:
        return digest_of("subject", self.chance.randrange(40)).removeprefix("sha256:")

    def _put(self, content: bytes) -> str:
        digest = canonical.digest(content)
        self.documents[digest] = content
        return digest


def encoded(event: Event) -> bytes:
    """An event's bytes, of whatever shape it is."""
    return canonical.encode({"v": 1, **asdict(event)})


@cache
def digest_of(what: str, number: int) -> str:
    return canonical.digest(f"{what} {number}".encode())


@cache
def measured(candidate: str, twin: str, data: str, split: str, *, bad: int) -> Evidence:
    """Candidate 0 passes, each next one fails one rule more; of candidate 3, one rule has no evidence."""
    found = {
        "quality.accuracy": Estimate(0.8 if bad > 0 else 0.95, n=1_000),
        "calibration.ece": Estimate(0.2 if bad > 1 else 0.01, n=1_000),
        "efficiency.latency_ratio": Estimate(0.5, n=200),
    }
    if bad == 3:
        del found["efficiency.latency_ratio"]
    return Evidence(candidate, twin, data, found, {"split": split, "seed": "7"})


@cache
def drilled(name: str, version: int) -> ArtefactTest:
    """Candidate 1 as the artefact that was made bad, candidate 0 as the clean one."""
    candidates = digest_of("candidate", 1), digest_of("candidate", 0)
    twin, data = digest_of("twin", 0), digest_of("rows", 0)
    bad, clean = (measured(each, twin, data, "gate", bad=1 - at) for at, each in enumerate(candidates))
    return ArtefactTest(
        policy(name, version),
        1,
        (
            Exhibit("bad", "answers at random", "quality.accuracy", candidates[0], twin, data, (bad,)),
            Exhibit("clean", None, "", candidates[1], twin, data, (clean,)),
        ),
    )


OTHER: dict[str, list[Any]] = {
    "refused": [-1, 2, True],
    "clean_passed": [2, "1"],
    "clean_of": [0],
    "actor": ["adal", "m0nitor", MONITOR, "\u0430da"],
    "person": ["grace", "gr-ace", "m0nitor", MONITOR],
    "roles": [["admin", "approver"], [], ["boss"], ["engineer", "engineer"]],
    "share": ["0", "1.5", 1, "0.3", "1"],
    "steps": [[], [{"share": "1", "requests_min": 1, "seconds_min": 0}], [{"share": "0.5"}]],
    "requests": [None, -1, 3],
    "version": [1, 0, "1", True],
    "approvals_min": [1, 0],
    "model": ["letters", "unknown", ""],
    "class": ["decisions"],
    "run": ["run-1"],
    "passed": [True, 1],
    "rules": [0, 1],
    "objections": [{}, {"speed": "passed"}, {"speed": "failed", "a": "failed", "b": "failed", "c": "failed"}],
    "expires": ["2026-01-06T00:00:00.000000Z", "2026-01-06T00:00:00Z", "2026-02-30T00:00:00.000000Z"],
    "before": ["0/3", "1/0"],
    "after": ["3/3"],
    "rule": ["speed", "nothing"],
    "split": ["gate", "test"],
    "to": [1, 2],
    "alarm": [None, "x"],
    "detector": ["waiver", "twin"],
    "waiver": [None],
    "proof": ["AAAA", "A" * 86 + "=="],
    "public_key": ["AAAA", Signer("ada", key("ada")).public_key, Signer("otto", key("otto")).public_key],
    "hold": ["h0"],
    "entries": [[[0, 3]], [[3, 3]], [[0, 1], [1, 2]], []],
    "scope": ["everything", "subject:", "all"],
    "commitments": [[], ["ab"]],
    "statement": [" "],
    "reason": [" ", "r" * 4_001],
    "assurance": ["signed", None],
    "holder": ["adal", "root", "otto"],
    "acts": [["operate"], [], ["infer", "infer"], ["everything"]],
    "models": [["*", "digits"], [], ["digits", "digits"], "*"],
    "until": ["2026-01-01T00:00:00.000000Z", ""],
    "reasons": [{}, {"no token": 0}, {" ": 1}],
    "token": ["t0"],
}

ACTS: dict[Act, int] = {
    History.open_again: 1,
    History.register: 6,
    History.rotate: 2,
    History.revoke: 1,
    History.grant: 2,
    History.ungrant: 1,
    History.adopt: 2,
    History.start: 3,
    History.finish: 1,
    History.admit: 4,
    History.train: 5,
    History.prune: 6,
    History.judge: 10,
    History.waive: 10,
    History.propose: 12,
    History.approve: 20,
    History.shift: 20,
    History.roll_back: 6,
    History.copy: 4,
    History.pause: 10,
    History.let_go_on: 6,
    History.divert: 2,
    History.restore: 6,
    History.seal: 6,
    History.drift: 2,
    History.alarm: 3,
    History.attach: 2,
    History.hold: 2,
    History.lift: 2,
    History.self_test: 2,
    History.drill: 3,
    History.drop: 4,
    History.describe: 2,
    History.erase: 1,
    History.issue: 4,
    History.end_token: 2,
    History.deny: 2,
}


PATH = (
    *(History.adopt, History.start, History.admit, History.train, History.prune, History.try_in_vain, History.judge),
    *(History.propose, History.approve, History.approve, History.shift, History.seal),
)


def histories(seeds: range, *, steps: int, wrong: float) -> Iterator[History]:
    for seed in seeds:
        history = History(seed, wrong)
        history.lead()
        for _ in range(steps):
            history.step()
        yield history
