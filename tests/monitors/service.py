"""A small service to watch: a dense model, its pruned child, both released, and traffic that they answer."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from monitors.drift import DriftReport
from monitors.watch import Pace, Watch
from pruneguard import canonical, releases
from pruneguard.artifacts import Artifacts
from pruneguard.evaluation.sessions import Session
from pruneguard.evidence import Estimate, Evidence
from pruneguard.ledger.events import Event
from pruneguard.ledger.ledger import Ledger
from pruneguard.ledger.state import Model, Release
from pruneguard.policy import Action, Canary, Monitoring, Policy, Step
from pruneguard.serving.observing import Answer
from pruneguard.testing import memory_ledger, people, register
from pruneguard.verdict import Finding, Outcome, Verdict
from pruneguard.workload import Floats

MODEL = "tiny"
FEATURES, CLASSES = 6, 3
CENTRES = np.random.default_rng(0).normal(size=(CLASSES, FEATURES)).astype(np.float32) * 3
POLICY = Policy(
    name="tiny",
    version=1,
    purpose="Watch a tiny model.",
    rules=(),
    canary=Canary((Step(0.1, 50),)),
    monitoring=Monitoring(twin_share=0.1, alpha=0.01, tolerance=0.01),
)


def classifier(weights: Floats) -> bytes:
    """A linear classifier as ONNX: rows [batch, features] times `weights` [features, classes]."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["input", "weights"], ["logits"])],
        "tiny",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", FEATURES])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(weights, "weights")],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def rows(rng: np.random.Generator, count: int) -> Floats:
    """Inputs that the models know: points around one centre a class."""
    centres = CENTRES[rng.integers(CLASSES, size=count)]
    return (centres + rng.normal(size=centres.shape)).astype(np.float32)


PACE = Pace(window_rows=100, window_least_s=0.0, drift_every=0, linger_s=0.0, labels_s=0.0)
ROWS = "sha256:" + "0" * 64


@dataclass
class Service:
    """A ledger in memory, artefacts in a folder, and a watch that is stepped by hand."""

    folder: Path
    policy: Policy = POLICY
    pace: Pace = PACE
    ledger: Ledger = field(default_factory=memory_ledger)
    asked: dict[str, Any] = field(default_factory=dict)
    """What the run's manifest asks for of observations."""
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))

    def __post_init__(self) -> None:
        dense = CENTRES.T
        self.artifacts = Artifacts(str(self.folder))
        self.dense = self.artifacts.put(classifier(dense))
        self.pruned = self.artifacts.put(classifier(dense + 0.01 * self.rng.normal(size=dense.shape).astype("f4")))
        self._sessions = {digest: Session(self.artifacts.get(digest)) for digest in (self.dense, self.pruned)}
        register(self.ledger)
        signed = {"signer": people()["grace"]}
        refs = {"policy": self.artifacts.put(self.policy.encode())}
        self.ledger.record(Event("policy.adopted", "grace", self.policy.terms, refs), **signed)
        manifest = {"kind": "manifest/v1", **({"observations": self.asked} if self.asked else {})}
        refs = {"manifest": self.artifacts.put(canonical.encode(manifest))}
        started = Event("run.started", "ada", {"run": "1", "model": MODEL}, refs)
        self.ledger.record(started, signer=people()["ada"])
        about = {"run": "1", "model": MODEL}
        self.ledger.record(Event("data.admitted", "ada", about, {"data": ROWS, "evidence": self.dense}))
        self.ledger.record(Event("model.trained", "ada", about, {"data": ROWS, "model": self.dense}))
        self.watch = self.new_watch()

    def new_watch(self, **changes: object) -> Watch:
        return Watch(self.ledger.reopen, self.artifacts, **{"pace": self.pace, **changes})  # type: ignore[arg-type]

    @property
    def model(self) -> Model:
        return self.ledger.state().models[MODEL]

    def events(self, kind: str) -> list[Event]:
        entries = (self.ledger.entry(index).event for index in range(self.ledger.size))
        return [event for event in entries if event.type == kind]

    def approve(self, digest: str, *, evidence: Evidence | None = None, waived: bool = False) -> Release:
        """Judge, propose and approve a model as the next release; with `waived`, one that failed a rule."""
        measured = evidence or evidence_of(digest, self.dense)
        outcome = Outcome.FAILED if waived else Outcome.PASSED
        finding = Finding("any", "at_most", outcome, "0", "<= 1", "", "")
        documents = (self.artifacts.put(measured.encode()),)
        made = {"run": "1", "model": MODEL, "recipe": {"method": "none"}}
        cut = {"model": digest, "parent": self.dense, "data": ROWS, "lineage": self.dense}
        self.ledger.record(Event("model.pruned", "ada", made, cut))
        verdict = Verdict(self.policy.digest, digest, self.dense, ROWS, documents, (finding,))
        refs = {
            "model": digest,
            "parent": self.dense,
            "data": verdict.data,
            "policy": self.policy.digest,
            "verdict": self.artifacts.put(verdict.encode()),
            "evidence": list(documents),
        }
        about = {"run": "1", "model": MODEL, "split": "release", **verdict.outline}
        self.ledger.record(Event("verdict.given", "ada", about, refs))
        if waived:
            self.waive(days=30)
        number = len(self.model.releases) + 1
        data = {"model": MODEL, "number": number, "reason": "it passed"}
        proposed = {"model": digest, "verdict": verdict.digest}
        self.ledger.record(Event("release.proposed", "ada", data, proposed), signer=people()["ada"])
        self.ledger.record(Event("release.approved", "grace", data, {"model": digest}), signer=people()["grace"])
        return self.model.releases[number]

    def waive(self, *, days: float, by: str = "grace") -> None:
        """Take on the one rule that the newest verdict failed."""
        releases.waive(
            self.ledger,
            model=MODEL,
            rule="any",
            until=timedelta(days=days),
            reason="a pilot",
            control="a person looks",
            signer=people()[by],
        )

    def answer(self, release: Release, inputs: Floats, *, logits: Floats | None = None) -> Answer:
        """What the gateway would report for a request with these rows."""
        given = self._sessions[release.digest].logits(inputs) if logits is None else logits
        return Answer(MODEL, release.number, release.digest, "r", inputs, given, 0.001, 1_700_000_000.0)

    def send(self, release: Release, count: int, *, broken: bool = False) -> None:
        """Answer `count` requests of one row each and let the watch work on them; broken logits name other classes."""
        for sent in range(1, count + 1):
            answer = self.answer(release, rows(self.rng, 1))
            self.watch.answered(replace(answer, logits=np.roll(answer.logits, 1, axis=1)) if broken else answer)
            if sent % 10 == 0 or sent == count:
                self.watch.step()

    def metric(self, name: str) -> float:
        """The value of one line of the exposition."""
        lines = self.watch.metrics()[0].decode().splitlines()
        return float(next(line.rsplit(" ", 1)[1] for line in lines if line.startswith(name + " ")))


def evidence_of(subject: str, twin: str, *, flips_high: float = 0.03, divergence_high: float = 0.01) -> Evidence:
    """What a gate with few rows measures on a good candidate."""
    measurements = {
        "quality.flips": Estimate(0.004, 0.0, flips_high, 450),
        "quality.divergence": Estimate(0.001, 0.0, divergence_high, 450),
        "quality.twin_accuracy": Estimate(0.98, 0.96, 0.99, 450),
        "calibration.twin_ece": Estimate(0.01, 0.005, 0.02, 450),
    }
    return Evidence(subject, twin, "sha256:" + "0" * 64, measurements)


def notify_only(policy: Policy = POLICY) -> Policy:
    return replace(policy, on_decay=Action.NOTIFY)


def no_report(reference: bytes, current: bytes) -> DriftReport:
    raise AssertionError("no drift report was due")
