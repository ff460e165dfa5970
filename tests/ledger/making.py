"""A log in the making, for tests of the rules: every act is folded in, and its reasons for refusal come back."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pruneguard import canonical
from pruneguard.ledger import dsse, fold, rules
from pruneguard.ledger.events import CLICKED, PAYLOAD_TYPE, SIGNED, Entry, Event, utc
from pruneguard.ledger.keys import Signer
from pruneguard.ledger.rules import MONITOR
from pruneguard.ledger.shapes import is_digest
from pruneguard.ledger.state import State, Status
from pruneguard.policy import Policy

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
TEAM = {"ada": "engineer", "grace": "approver", "gil": "approver", "otto": "operator", "iris": "auditor"}
TERMS = Policy("p", 1, "a test", ()).terms


def digest(name: str) -> str:
    return canonical.digest(name.encode())


POLICY, ROWS, TWIN, SLIM, STUMP = map(digest, ("policy", "rows", "twin", "slim", "stump"))


@cache
def signer(actor: str, key: str = "") -> Signer:
    """The same key for the same words on every call."""
    seed = bytes.fromhex(digest(key or actor).removeprefix("sha256:"))
    return Signer(actor, Ed25519PrivateKey.from_private_bytes(seed))


def later(time: str, **by: float) -> str:
    return utc(datetime.fromisoformat(time) + timedelta(**by))


def says(why: list[str], words: str) -> bool:
    """Refused, for this reason and for no other."""
    return len(why) == 1 and words in why[0]


def raw(event: Event) -> bytes:
    """The event's bytes, whatever its fields are: as somebody writes them who does not use this program."""
    fields = {name: getattr(event, name) for name in Event.__slots__}
    return canonical.encode({"v": 1, **fields, "refs": dict(event.refs), "data": dict(event.data)})


@dataclass
class Log:
    state: State = field(default_factory=State)
    effective: list[Entry] = field(default_factory=list)
    entries: list[bytes] = field(default_factory=list)
    now: datetime = START

    def fold(self, entry: Entry) -> list[str]:
        why = rules.objections(self.state, entry)
        before = len(self.state.violations)
        fold.apply(self.state, self.state.size, entry)
        assert [reason for _, reason in self.state.violations[before:]] == why
        if not why:
            self.effective.append(entry)
        return why

    def add(self, event: Event, by: Signer | None = None) -> list[str]:
        """Fold an event as a reader meets it: out of its bytes, in an envelope where somebody signs."""
        content = raw(event)
        if by is not None:
            meant = raw(replace(event, ledger=self.state.id))
            content = dsse.Envelope.sign(meant, PAYLOAD_TYPE, keyid="", key=by.key).encode()
        self.entries.append(content)
        return self.fold(Entry.decode(content))

    def act(
        self,
        type_: str,
        actor: str,
        refs: Mapping[str, Any] | None = None,
        /,
        *,
        by: Signer | None = None,
        clicked: bool = False,
        causation: str | None = None,
        time: str = "",
        **data: Any,
    ) -> list[str]:
        """An act a minute after the one before, signed where its type asks for that, or by whom it says.

        What is no digest in `refs` stands for the digest of that text.
        """
        self.now += timedelta(minutes=1)
        event = Event(type_, actor, data, _named(refs or {}), causation, time=time or utc(self.now))
        if by is None and not clicked and (type_ in SIGNED | CLICKED) and actor != MONITOR:
            by = signer(actor)
        if clicked and type_ in CLICKED:
            event = replace(event, data={"assurance": "server-attested", **data})
        return self.add(event, by)

    def waits(self, **by: float) -> None:
        """Time passes."""
        self.now += timedelta(**by)

    # -- people

    def register(self, actor: str, *roles: str, person: str = "", by: str = "root", key: str = "") -> list[str]:
        data: dict[str, Any] = {"actor": actor, "person": person or actor, "roles": list(roles)}
        return self.act("key.registered", by, **data, public_key=signer(actor, key).public_key)

    def rotate(self, actor: str, key: str, *, old: str = "", **told: Any) -> list[str]:
        new = signer(actor, key)
        data = {"actor": actor, "public_key": new.public_key, "proof": new.prove(self.state.id), **told}
        return self.act("key.rotated", actor, by=signer(actor, old), **data)

    def adopt(self, policy: str = "policy", *, by: str = "grace", **terms: Any) -> list[str]:
        return self.act("policy.adopted", by, {"policy": policy}, **{**TERMS, **terms})

    # -- runs

    def start(self, run: str = "r1", *, by: str = "ada", model: str = "digits", time: str = "") -> list[str]:
        return self.act("run.started", by, {"manifest": "manifest"}, run=run, model=model, time=time)

    def work(self, type_: str, refs: Mapping[str, Any], *, by: str = "ada", run: str = "r1", **data: Any) -> list[str]:
        return self.act(type_, by, refs, run=run, model="digits", **data)

    def make(self, candidate: str, run: str = "r1") -> None:
        """Record where the rows, the twin and a model come from, unless that is known."""
        if ROWS not in self.state.makers:
            assert not self.work("data.admitted", {"data": ROWS, "evidence": "e"}, run=run)
        for model in (TWIN, candidate):
            if model not in self.state.makers:
                assert not self.work("model.trained", {"model": model, "data": ROWS}, run=run)

    def judge(
        self,
        candidate: str,
        verdict: str,
        *,
        by: str = "ada",
        run: str = "r1",
        split: str = "release",
        objections: Mapping[str, str] | None = None,
        **refs: Any,
    ) -> list[str]:
        """Ten rules are checked; the candidate is made first, unless it is known."""
        self.make(candidate, run)
        named = {"model": candidate, "parent": TWIN, "data": ROWS, "policy": POLICY, "verdict": verdict, **refs}
        found = dict(objections or {})
        told = {"split": split, "passed": not found, "rules": 10, "objections": found}
        return self.work("verdict.given", {"evidence": ["e"], **named}, by=by, run=run, **told)

    # -- releases

    def waive(self, candidate: str, verdict: str, rule: str = "speed", *, by: str = "grace", **told: Any) -> list[str]:
        data = {"model": "digits", "rule": rule, "reason": "it is new", "control": "a person looks"}
        data |= {"before": "9/10", "after": "10/10", "expires": later(utc(self.now), days=30)}
        return self.act("waiver.granted", by, {"model": candidate, "verdict": verdict}, **{**data, **told})

    def propose(self, candidate: str, verdict: str, number: int, *, by: str = "ada", **how: Any) -> list[str]:
        data = {"model": "digits", "number": number, **how}
        return self.act("release.proposed", by, {"model": candidate, "verdict": verdict}, **data)

    def approve(self, candidate: str, number: int, *, by: str = "grace", **how: Any) -> list[str]:
        data = {"model": "digits", "number": number, "reason": "sound", **how}
        return self.act("release.approved", by, {"model": candidate}, **data)

    def shift(self, candidate: str, number: int, share: str = "1", *, by: str = MONITOR, **how: Any) -> list[str]:
        """Whatever the share, a monitor has counted as many requests as the policy of `started` asks for."""
        counted = by == MONITOR
        data = {"model": "digits", "number": number, "share": share, "requests": 200 if counted else None, **how}
        return self.act(
            "traffic.shifted", by, {"model": candidate} | ({"comparison": "counted"} if counted else {}), **data
        )

    def lead(self, candidate: str, number: int) -> list[str]:
        """From approval to everything."""
        if self.state.models["digits"].live is None:
            return self.shift(candidate, number)
        return self.shift(candidate, number, "0.1") + self.shift(candidate, number)

    def on(self, type_: str, candidate: str, number: int, *, by: str = "otto", **how: Any) -> list[str]:
        """An act about a release and no more: to hold, to resume, to copy."""
        data = {"model": "digits", "number": number} | ({} if type_ == "traffic.copied" else {"reason": "why"})
        return self.act(type_, by, {"model": candidate}, **{**data, **how})

    def divert(self, candidate: str = "", to: int | None = None, *, by: str = "otto", **how: Any) -> list[str]:
        refs = {"model": candidate} if candidate else {}
        return self.act("traffic.diverted", by, refs, model="digits", to=to, reason="why", **how)

    def restore(self, *, by: str = "otto", **how: Any) -> list[str]:
        return self.act("traffic.restored", by, model="digits", reason="why", **how)

    def roll_back(self, candidate: str, number: int, to: int, *, by: str = "otto", **how: Any) -> list[str]:
        data = {"model": "digits", "number": number, "to": to, "reason": "bad", **how}
        return self.act("release.rolled_back", by, {"model": candidate}, **data)

    def alarm(self, candidate: str, number: int, **told: Any) -> list[str]:
        data = {"model": "digits", "number": number, "detector": "twin", "cause": "decay", "evidence": {}, **told}
        return self.act("alarm.raised", MONITOR, {"model": candidate}, **data)

    def seal(self, candidate: str, number: int, *, by: str = MONITOR, **how: Any) -> list[str]:
        data = {"model": "digits", "number": number, "rows": 5, **how}
        return self.act("batch.sealed", by, {"model": candidate, "batch": "rows seen"}, **data)

    def release(self, candidate: str, number: int) -> None:
        """Judge, propose, approve and make live."""
        acts = (
            self.judge(candidate, f"v{number}"),
            self.propose(candidate, f"v{number}", number),
            self.approve(candidate, number),
            self.lead(candidate, number),
        )
        assert acts == ([], [], [], [])

    @property
    def statuses(self) -> dict[int, Status]:
        return {number: release.status for number, release in self.state.models["digits"].releases.items()}


def opened() -> Log:
    """A ledger with its admin and nothing else."""
    log = Log()
    assert not log.act("ledger.opened", MONITOR, origin="log.example/x")
    assert not log.register("root", "admin")
    return log


def started(**terms: Any) -> Log:
    """Five people, a policy of these terms, and a run of ada's."""
    log = opened()
    for actor, role in TEAM.items():
        assert not log.register(actor, role)
    assert not log.adopt(**terms)
    assert not log.start()
    return log


def _named(refs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: [*map(_digest, v)] if isinstance(v, list) else _digest(v) for name, v in refs.items()}


def _digest(value: Any) -> Any:
    return digest(value) if isinstance(value, str) and not is_digest(value) else value
