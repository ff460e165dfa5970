"""More than the story of `pruneguard.testing`: new people, waivers, two approvals, telemetry that was dropped."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pruneguard import canonical, testing
from pruneguard.artifacts import Artifacts
from pruneguard.evidence import Evidence
from pruneguard.gates import judge
from pruneguard.gates.exhibits import ArtefactTest, Exhibit
from pruneguard.gates.selftest import self_test
from pruneguard.ledger.events import Event, utc
from pruneguard.ledger.keys import Signer
from pruneguard.ledger.ledger import Ledger, Recorded
from pruneguard.ledger.rules import MONITOR

LIN = Signer("lin", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
STRICT = replace(testing.POLICY, name="strict", approvals_min=2, server_attested=False)


@dataclass
class Teller:
    """Records one event a minute, with ids that are the same on every run, by anybody."""

    ledger: Ledger
    artifacts: Artifacts
    model: str
    now: Any

    def act(self, type_: str, actor: str, refs: Mapping[str, Any] | None = None, /, **data: Any) -> Recorded:
        """Signed, unless the monitor acts or work is recorded."""
        event = self._event(type_, actor, refs or {}, data)
        unsigned = actor == MONITOR or ("run" in data and type_ != "run.started")
        return self.ledger.record(event, signer=None if unsigned else ({"lin": LIN} | testing.people())[actor])

    def batches(self, number: int, digest: str, count: int, *, first: int = 0) -> None:
        rows = {"model": self.model, "number": number, "rows": 200}
        refs = {"model": digest, "batch": canonical.digest(b"rows")}
        self.ledger.record_all(
            [self._event("batch.sealed", MONITOR, refs, {**rows, "batch": first + batch}) for batch in range(count)]
        )

    def _event(self, type_: str, actor: str, refs: Mapping[str, Any], data: Mapping[str, Any]) -> Event:
        self.now += timedelta(minutes=1)
        number = int(self.now.timestamp() * 1000)
        return Event(
            type_, actor, data, refs, id=str(uuid.UUID(int=number << 80 | 7 << 76 | 2 << 62)), time=utc(self.now)
        )


def tell_more(ledger: Ledger, artifacts: Artifacts, story: testing.Story) -> Teller:
    """Go on where the story ends.

    Lin becomes an approver. The strict policy is adopted, its gates tried and drilled. The pruned model is judged by
    it, signed for by two people and live as 3. The stump fails, three rules are waived, it is live as 4. Rows and rows
    are sealed; 200 days later the old ones lose their bodies. A person attaches a document.
    """
    teller = Teller(ledger, artifacts, story.model, testing.START + timedelta(days=2))
    key = {"actor": "lin", "person": "lin", "public_key": LIN.public_key, "roles": ["approver"]}
    teller.act("key.registered", "root", **key)
    teller.act("role.granted", "root", actor="lin", roles=["auditor"])
    policy = artifacts.put(STRICT.encode())
    teller.act("policy.adopted", "grace", {"policy": policy}, **STRICT.terms)
    run = {"run": f"{story.model}-2", "model": story.model}
    manifest = artifacts.put(canonical.encode({"kind": "manifest/v1", "model": story.model}))
    teller.act("run.started", "ada", {"manifest": manifest}, **run)
    trial = self_test(STRICT)
    refs = {"policy": policy, "report": artifacts.put(trial.encode())}
    teller.act("gates.self_tested", "ada", refs, **run, refused=trial.refused, of=trial.of)
    drill = _drilled(teller, story)
    refs = {"policy": policy, "report": artifacts.put(drill.encode())}
    teller.act("gates.drilled", "ada", refs, **drill.outline)
    good, bad = (_judged_again(teller, digest, policy, run) for digest in (story.verdicts[2], story.verdicts[1]))
    teller.act("run.finished", "ada", **run, outcome="proposed")
    _released(teller, good, 3)
    teller.batches(3, good["model"], 300)
    _waived(teller, bad)
    _released(teller, bad, 4)
    teller.batches(4, bad["model"], 300)
    teller.now += timedelta(days=200)
    teller.batches(4, bad["model"], 3, first=300)
    before = utc(teller.now - timedelta(days=190))
    dropped = [[start, end] for start, end in ledger.state().droppable(before)]
    teller.act("retention.applied", "root", **{"class": "telemetry"}, before=before, entries=dropped, reason="old")
    ledger.store.drop_bodies([(start, end) for start, end in dropped])
    told = {"framework": "nist-ai-rmf", "control": "GOVERN 1.1", "title": "Register", "statement": "Kept by legal."}
    teller.act("document.attached", "lin", {"document": artifacts.put(b"a register")}, **told)
    return teller


def _drilled(teller: Teller, story: testing.Story) -> ArtefactTest:
    """The stump as the artefact that was made bad, the candidate as the one with nothing wrong."""
    exhibits = []
    for name, fault, verdict in (("stump", "cut too far", story.verdicts[1]), ("pruned", None, story.verdicts[2])):
        refs, evidence = _judged(teller, verdict)
        about = (refs["model"], refs["parent"], refs["data"])
        exhibits.append(Exhibit(name, fault, "quality.paired" if fault else "", *about, evidence))
    return ArtefactTest(STRICT, 1, tuple(exhibits))


def _judged(teller: Teller, verdict: str) -> tuple[Mapping[str, Any], tuple[Evidence, ...]]:
    """What a verdict of the story was about, and rested on."""
    event = next(
        event
        for event in (teller.ledger.entry(at).event for at in range(29))
        if event.refs.get("verdict") == verdict and event.type == "verdict.given"
    )
    return event.refs, tuple(Evidence.decode(teller.artifacts.get(digest)) for digest in event.refs["evidence"])


def _judged_again(teller: Teller, verdict: str, policy: str, run: Mapping[str, str]) -> dict[str, str]:
    """The same evidence, by the strict policy: what `release.proposed` names."""
    given, evidence = _judged(teller, verdict)
    decided = judge(STRICT, evidence, candidate=given["model"], twin=given["parent"], data=given["data"])
    refs = {**given, "policy": policy, "verdict": teller.artifacts.put(decided.encode())}
    teller.act("verdict.given", "ada", refs, **run, split="release", **decided.outline)
    return {"model": given["model"], "verdict": decided.digest}


def _waived(teller: Teller, refs: Mapping[str, str]) -> None:
    verdict = teller.ledger.state().models[teller.model].by_digest[refs["verdict"]]
    for rule in verdict.objections:
        told = {"rule": rule, "reason": "for the drill", "control": "a person looks at every answer"}
        expires = utc(teller.now + timedelta(days=60))
        scores = {"before": verdict.score(), "after": verdict.score(1)}
        teller.act("waiver.granted", "grace", refs, model=teller.model, **told, expires=expires, **scores)


def _released(teller: Teller, refs: Mapping[str, str], number: int) -> None:
    told = {"model": teller.model, "number": number}
    teller.act("release.proposed", "ada", refs, **told)
    for approver in ("grace", "lin"):
        teller.act("release.approved", approver, {"model": refs["model"]}, **told, reason="read the findings")
    for share in ("0.1", "1"):
        named, counts = testing.counted(teller.ledger.state(), teller.artifacts, model=teller.model, number=number)
        teller.act("traffic.shifted", MONITOR, named, **{**told, **counts}, share=share)
