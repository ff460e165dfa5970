"""Doubles with the real interface, and a whole life of a model to test against: for our tests and our users'."""

import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pruneguard import canonical, releases
from pruneguard.artifacts import Artifacts
from pruneguard.comparison import Aspect, Comparison, Twin
from pruneguard.errors import UnavailableError
from pruneguard.evidence import Estimate, Evidence, Measurement, PairedTable
from pruneguard.gates import judge
from pruneguard.home import TEAM
from pruneguard.ledger import merkle
from pruneguard.ledger.events import Event, utc
from pruneguard.ledger.keys import LogKey, Signer
from pruneguard.ledger.ledger import Ledger, Recorded, opening
from pruneguard.ledger.rules import MONITOR
from pruneguard.ledger.state import State
from pruneguard.policy import Policy, Rule, Subject, next_share
from pruneguard.pruning import tensors
from pruneguard.pruning.lineage import Lineage
from pruneguard.streams import Tally
from pruneguard.verdict import Verdict

ORIGIN = "pruneguard.example/test"
START = datetime(2026, 1, 5, 9, tzinfo=UTC)

POLICY = Policy(
    name="story",
    version=1,
    purpose="What the model of the story must prove.",
    rules=(
        Rule("no leakage", "at_most", "data.leakage", {"limit": 0}, "leaked rows flatter", "remove the rows"),
        Rule("accuracy", "at_least", "quality.accuracy", {"limit": 0.9}, "users count on it", "train longer"),
        Rule("as good as the twin", "non_inferior", "quality.paired", {"margin": 0.02}, "pruned", "prune less"),
        Rule("in every class", "slices_non_inferior", "quality.paired", {"margin": 0.05}, "means hide", "prune less"),
        Rule("faster", "at_most", "efficiency.latency_ratio", {"limit": 1}, "the point", "round up", Subject.PRUNED),
    ),
)


class MemoryStore:
    """`ledger.store.Store` in memory. Any number of ledgers and threads may share one."""

    place = "memory"

    def __init__(self, vkey: str, entry: bytes, checkpoint: bytes) -> None:
        self.vkey = vkey
        self._lock = threading.RLock()
        self._grown = threading.Condition(self._lock)
        self._entries: list[bytes] = []
        self._rows: dict[int, list[bytes]] = {0: []}
        self._checkpoints: dict[int, bytes] = {}
        self.append([entry], leaves=[merkle.leaf_hash(entry)], nodes=[], size=1, checkpoint=checkpoint)

    @contextmanager
    def reading(self) -> Iterator["MemoryStore"]:
        with self._lock:
            yield self

    @contextmanager
    def writing(self) -> Iterator["MemoryStore"]:
        if not self._lock.acquire(timeout=10):
            raise UnavailableError("another thread is writing to this ledger and did not finish in time; try again")
        try:
            yield self
        finally:
            self._lock.release()

    def wait_for_growth(self, size: int, timeout_s: float) -> bool:
        with self._grown:
            return self._grown.wait_for(lambda: max(self._checkpoints) > size, timeout_s)

    def drop_bodies(self, ranges: Sequence[tuple[int, int]]) -> None:
        with self._lock:
            for start, end in ranges:
                self._entries[start:end] = [b""] * len(self._entries[start:end])

    def close(self) -> None:
        """Nothing to let go of."""

    def checkpoint(self) -> bytes:
        return self._checkpoints[max(self._checkpoints)]

    def checkpoints(self) -> Iterator[tuple[int, bytes]]:
        return iter(sorted(self._checkpoints.items()))

    def count(self) -> int:
        return len(self._entries)

    def entries(self, start: int, end: int) -> Iterator[tuple[int, bytes, bytes]]:
        return zip(range(start, end), self._rows[0][start:end], self._entries[start:end], strict=False)

    def nodes(self, level: int, start: int, end: int) -> list[bytes]:
        return self._rows.get(level, [])[start:end]

    def append(
        self,
        entries: Sequence[bytes],
        *,
        leaves: Sequence[bytes],
        nodes: Sequence[merkle.Node],
        size: int,
        checkpoint: bytes,
    ) -> None:
        self._entries += entries
        self._rows[0] += leaves
        for level, _, value in nodes:
            self._rows.setdefault(level, []).append(value)
        self._checkpoints[size] = checkpoint
        with self._grown:
            self._grown.notify_all()


def log_key(origin: str = ORIGIN) -> LogKey:
    """A ledger's key, made from its origin: the same on every call."""
    return LogKey(origin, _key(origin))


def memory_ledger(*, origin: str = ORIGIN) -> Ledger:
    """A new ledger in memory, which is the same one on every call."""
    key = log_key(origin)
    first = opening(key, id=str(uuid.uuid5(uuid.NAMESPACE_URL, origin)), time=utc(START))
    return Ledger(MemoryStore(key.verifier.vkey, *first), key=key)


def people() -> dict[str, Signer]:
    """Signers for ada (engineer), grace (approver), otto (operator) and root (admin): the same on every call."""
    return {actor: Signer(actor, _key(actor)) for actor in TEAM}


def register(ledger: Ledger, *, time: datetime = START) -> None:
    """Record the keys of `people`, root's first."""
    signers = people()
    for actor, role in TEAM.items():
        data = {"actor": actor, "person": actor, "public_key": signers[actor].public_key, "roles": [role.value]}
        event = Event("key.registered", "root", data, id=_identifier(ledger, time), time=utc(time))
        ledger.record(event, signer=signers["root"])


@dataclass
class Script:
    """Records one event after the other, a minute apart, with ids that are the same on every run."""

    ledger: Ledger
    artifacts: Artifacts
    model: str = "digits"
    now: datetime = START

    def put(self, document: Mapping[str, Any]) -> str:
        return self.artifacts.put(canonical.encode(document))

    def record(
        self, type_: str, actor: str, refs: Mapping[str, Any] | None = None, /, *, signed: bool = False, **data: Any
    ) -> Recorded:
        """`data` gets the story's model added, unless it names one or a policy is about none."""
        self.now += timedelta(minutes=1)
        if type_ != "policy.adopted":
            data = {"model": self.model, **data}
        event = Event(type_, actor, data, refs or {}, id=_identifier(self.ledger, self.now), time=utc(self.now))
        return self.ledger.record(event, signer=people()[actor] if signed else None)


@dataclass(frozen=True, slots=True)
class Story:
    """Where in the log the story's turns are, and the digests of its cast."""

    model: str
    twin: str
    candidate: str
    rejected: str
    verdicts: tuple[str, str, str]
    alarm: str
    """Id of the event that raised it."""
    rolled_back: int


def story(ledger: Ledger, artifacts: Artifacts, *, model: str = "digits", start: datetime = START) -> Story:
    """Record the whole life of a model on an open ledger, with its documents.

    Keys; a policy; a run; data; the twin, released and live as 1; one candidate refused and one passed; the latter
    released as 2, canary, live; sealed batches; drift; an alarm; and the rollback to 1 that it causes. Artefacts of
    models are a few bytes that stand for ONNX files; findings are made by the real gates.
    """
    script = Script(ledger, artifacts, model, start)
    data, twin = artifacts.put(b"rows"), artifacts.put(b"ONNX of the twin")
    rejected, candidate = artifacts.put(b"ONNX of a stump"), artifacts.put(b"ONNX of the pruned")
    if not ledger.state().people:
        register(ledger, time=start)
    policy = artifacts.put(POLICY.encode())
    script.record("policy.adopted", "grace", {"policy": policy}, signed=True, **POLICY.terms)

    run = f"{model}-1"
    manifest = script.put({"kind": "manifest/v1", "model": model})
    script.record("run.started", "ada", {"manifest": manifest}, signed=True, run=run)
    admitted = Evidence(data, None, data, {"data.leakage": Estimate(0.0, n=900), "data.missing": Estimate(0.0, n=900)})
    expectations = script.put({"kind": "expectations", "success": True})
    refs = {"data": data, "evidence": artifacts.put(admitted.encode()), "expectations": expectations}
    script.record("data.admitted", "ada", refs, run=run)
    dense = artifacts.put(_weights(range(4)))
    script.record("model.trained", "ada", {"model": twin, "data": data, "weights": dense}, run=run)

    def attempt(digest: str, table: PairedTable, *, ratio: str, latency: float) -> str:
        if digest != twin:
            cut = _cut(artifacts, kept=2 if digest == candidate else 1)
            made = {"model": digest, "parent": twin, "data": data, **cut}
            recipe = {"name": "channels", "steps": "prune channels", "ratio": ratio}
            script.record("model.pruned", "ada", made, run=run, recipe=recipe)
        evidence = _measured(digest, twin, data, table, latency=latency)
        verdict = judge(POLICY, [admitted, evidence], candidate=digest, twin=twin, data=data)
        return _given(script, run, verdict, [admitted, evidence])

    first = attempt(twin, PairedTable(870, 0, 0, 30), ratio="0", latency=1.0)
    _released(script, twin, first, number=1)
    no = attempt(rejected, PairedTable(640, 10, 230, 20), ratio="0.75", latency=0.35)
    yes = attempt(candidate, PairedTable(864, 8, 6, 22), ratio="0.5", latency=0.61)
    script.record("run.finished", "ada", run=run, outcome="proposed")
    _sealed(script, twin, number=1, rows=5_000, flips=0)
    _released(script, candidate, yes, number=2)
    for flips in (4, 6, 95):
        _sealed(script, candidate, number=2, rows=2_000, flips=flips)
    moved: dict[str, Any] = {"number": 2, "drifted": 1, "columns": 7, "names": ["margin"]}
    script.record("drift.reported", MONITOR, {"model": candidate, "report": script.put(moved)}, **moved)
    about: dict[str, Any] = {"number": 2, "detector": "twin disagreement", "cause": "artefact"}
    seen = {"evalue": "412.7", "threshold": "100", "requests": 6_000, "twin_runs": 600, "flips": 105}
    alarm = script.record("alarm.raised", MONITOR, {"model": candidate}, **about, evidence=seen)
    back: dict[str, Any] = {"number": 2, "to": 1, "reason": "the twin disagrees", "alarm": alarm.event.id}
    end = script.record("release.rolled_back", MONITOR, {"model": candidate}, **back)
    return Story(model, twin, candidate, rejected, (first, no, yes), alarm.event.id, end.index)


def _weights(rows: Sequence[int]) -> bytes:
    """A layer that keeps these of its four rows, as safetensors."""
    entries = b"".join(bytes([row, 0, 0, 63, row, 1, 0, 63]) for row in rows)
    return tensors.write({"layer.weight": tensors.Tensor("F32", (len(rows), 2), entries)})


def _cut(artifacts: Artifacts, *, kept: int) -> dict[str, str]:
    """The lineage of a network that keeps so many rows, and its weights, which no training has changed."""
    pruned = artifacts.put(_weights(range(kept)))
    lineage = Lineage(
        dense=canonical.digest(_weights(range(4))),
        start=canonical.digest(_weights(range(4))),
        weights=pruned,
        recipe=({"prune": "channels", "criterion": "l2"},),
        ratio=1 - kept / 4,
        seed=0,
        removed={"channels": {"layer": tuple(range(kept, 4))}},
        shapes={"layer.weight": (4, 2)},
        kept={"layer.weight": (tuple(range(kept)), None)},
    )
    return {"lineage": artifacts.put(lineage.encode()), "weights": pruned}


def _measured(digest: str, twin: str, data: str, table: PairedTable, *, latency: float) -> Evidence:
    tenth = PairedTable(*(cell // 10 for cell in (table.both_right, table.candidate_only, table.twin_only, 30)))
    slices: dict[str, Measurement] = {f"quality.paired.slice.class={label}": tenth for label in range(10)}
    accuracy = (table.both_right + table.candidate_only) / table.n
    measurements: dict[str, Measurement] = {
        "quality.accuracy": Estimate(accuracy, n=table.n),
        "quality.paired": table,
        "efficiency.latency_ratio": Estimate(latency, latency * 0.97, latency * 1.03, n=200),
        "efficiency.size_ratio": Estimate(latency, n=1),
        "calibration.ece": Estimate(0.012, 0.008, 0.017, n=table.n),
    }
    return Evidence(digest, twin, data, measurements | slices, {"split": "release", "seed": "7"})


def _given(script: Script, run: str, verdict: Verdict, evidence: Sequence[Evidence]) -> str:
    refs = {
        "model": verdict.candidate,
        "parent": verdict.twin,
        "data": verdict.data,
        "policy": verdict.policy,
        # In another order than the verdict's document has it, as it may well be in a run.
        "evidence": sorted((script.artifacts.put(e.encode()) for e in evidence), reverse=True),
        "verdict": script.artifacts.put(verdict.encode()),
    }
    script.record("verdict.given", "ada", refs, run=run, split="release", **verdict.outline)
    return verdict.digest


def _released(script: Script, digest: str, verdict: str, *, number: int) -> None:
    script.record("release.proposed", "ada", {"model": digest, "verdict": verdict}, signed=True, number=number)
    script.record(
        "release.approved", "grace", {"model": digest}, signed=True, number=number, reason="every gate passed"
    )
    share = 0.0
    while share < 1:
        state = script.ledger.state()
        refs, data = counted(state, script.artifacts, model=script.model, number=number)
        share = releases.onward(state, state.models[script.model].releases[number])
        script.record("traffic.shifted", MONITOR, refs, **data, share=f"{share:g}")


def counted(state: State, artifacts: Artifacts, *, model: str, number: int) -> tuple[dict[str, str], dict[str, Any]]:
    """What a monitor's `traffic.shifted` names, and tells beside the share: of a canary, what `compared` counts."""
    release = state.models[model].releases[number]
    if not release.share:
        return {"model": release.digest}, {"number": number}
    seen = compared(state, model=model, number=number)
    refs = {"model": release.digest, "comparison": artifacts.put(seen.encode())}
    return refs, {"number": number, "requests": seen.requests}


def compared(state: State, *, model: str, number: int) -> Comparison:
    """What a monitor counts of a good canary by the end of its step: no failure, and a twin that agrees."""
    release = state.models[model].releases[number]
    live = state.models[model].live
    step = next(step for step in state.policies[release.policy].steps if step.share == release.share)
    tallies = {Aspect.FAILED: (Tally(9, step.requests_min),), Aspect.SLOW: (Tally(9, step.requests_min, 9, 1),)}
    twin = None if release.digest == release.twin else Twin(runs=20, flips=0, evalue=0.8, threshold=100.0)
    standing = (release.policy, release.share, step.requests_min, step.seconds_min)
    return Comparison(model, number, live.number if live else 0, *standing, 12.5, tallies, twin)


def lead(ledger: Ledger, *, model: str, number: int, share: float) -> None:
    """Take a release from step to step until it has a share of the traffic; smaller than what it has, at once."""
    while (release := ledger.state().models[model].releases[number]).share != share:
        state = ledger.state()
        seen = compared(state, model=model, number=number) if release.share else None
        following = next_share(state.policies[release.policy].steps, release.share) if share < 1 else 1.0
        if state.models[model].live is not None:
            following = releases.onward(state, release)
        releases.shift(ledger, model=model, number=number, share=min(share, following), comparison=seen)


def _sealed(script: Script, digest: str, *, number: int, rows: int, flips: int) -> None:
    batch = script.artifacts.put(f"observations of {number}, {script.now}".encode())
    refs = {"model": digest, "batch": batch}
    script.record("batch.sealed", MONITOR, refs, number=number, rows=rows, twin_runs=rows // 10, flips=flips)


def _identifier(ledger: Ledger, time: datetime) -> str:
    """Of the next event: a UUID of version 7 out of its time and its place in the log."""
    return str(uuid.UUID(int=int(time.timestamp() * 1000) << 80 | 7 << 76 | 2 << 62 | ledger.size))


def _key(name: str) -> Ed25519PrivateKey:
    """A key that anybody can make again: for tests, never for a service."""
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(canonical.digest(name.encode()).removeprefix("sha256:")))
