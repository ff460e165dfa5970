"""A home in which one model is live: the dense network as release 1, the pruned one as release 2."""

from dataclasses import dataclass, field
from typing import Any

from benchmarks.answering.networks import Network
from pruneguard import canonical, home, releases
from pruneguard.evidence import Estimate, Evidence
from pruneguard.ledger.events import Event
from pruneguard.ledger.ledger import Ledger
from pruneguard.policy import Canary, Monitoring, Policy, Step
from pruneguard.settings import Settings
from pruneguard.testing import lead, people
from pruneguard.verdict import Finding, Outcome, Verdict
from tests.ledgers import new_ledger

MODEL, RUN = "model", "1"
TWIN_SHARE = 0.05
POLICY = Policy(
    "bench", 1, "To be measured.", (), canary=Canary(steps=(Step(0.5, 1),)), monitoring=Monitoring(TWIN_SHARE)
)


@dataclass(slots=True)
class House:
    """Made on an empty home; `release` puts one of the two networks before everybody, in two steps."""

    settings: Settings
    network: Network
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        new_ledger(self.settings.home)
        self.ledger = home.open_ledger(self.settings)
        self._store = home.artifacts(self.settings)
        self.digests = [self._store.put(self.network.twin), self._store.put(self.network.pruned)]
        self._rows = self._store.put(b"rows")
        self._act("policy.adopted", "grace", {"policy": self._store.put(POLICY.encode())}, signed=True, **POLICY.terms)
        manifest = self._store.put(canonical.encode({"kind": "manifest/v1"}))
        self._work("run.started", {"manifest": manifest}, signed=True)
        self._work("data.admitted", {"data": self._rows, "evidence": self._rows})
        self._work("model.trained", {"data": self._rows, "model": self.digests[0]})
        cut = {"model": self.digests[1], "parent": self.digests[0], "data": self._rows, "lineage": self._rows}
        self._work("model.pruned", cut, recipe={"method": "none"})
        for digest in self.digests:
            self.release(digest)

    _store: Any = field(init=False)
    _rows: str = field(init=False)
    digests: list[str] = field(init=False)

    def release(self, digest: str) -> int:
        """Judged, proposed, approved and live; its number."""
        known = self.ledger.state().models.get(MODEL)
        number = len(known.releases) + 1 if known else 1
        verdict = self._judge(digest, number)
        about = {"model": MODEL, "number": number, "reason": "measured"}
        named = {"model": digest, "verdict": verdict}
        self._act("release.proposed", "ada", named, signed=True, model=MODEL, number=number)
        self._act("release.approved", "grace", {"model": digest}, signed=True, **about)
        lead(self.ledger, model=MODEL, number=number, share=1.0)
        return number

    def roll_back(self) -> None:
        otto = people()["otto"]
        releases.roll_back(self.ledger, model=MODEL, reason="measured", actor="otto", signer=otto)

    def _judge(self, digest: str, number: int) -> str:
        measured = {
            "quality.flips": Estimate(0.004, 0.0, 0.03, 450),
            "quality.divergence": Estimate(0.001, 0.0, 0.01, 450),
            "quality.twin_accuracy": Estimate(0.98, 0.96, 0.99, 450),
            "calibration.twin_ece": Estimate(0.01, 0.005, 0.02, 450),
        }
        evidence = self._store.put(Evidence(digest, self.digests[0], self._rows, measured).encode())
        passed = Finding("any", "at_most", Outcome.PASSED, f"{number}", "<= 1000000", "", "")
        verdict = Verdict(POLICY.digest, digest, self.digests[0], self._rows, (evidence,), (passed,))
        refs = {"model": digest, "parent": self.digests[0], "data": self._rows, "policy": POLICY.digest}
        refs["verdict"] = self._store.put(verdict.encode())
        self._work("verdict.given", {**refs, "evidence": [evidence]}, split="release", **verdict.outline)
        return refs["verdict"]

    def _work(self, kind: str, refs: dict[str, Any], *, signed: bool = False, **data: Any) -> None:
        self._act(kind, "ada", refs, signed=signed, run=RUN, model=MODEL, **data)

    def _act(self, kind: str, actor: str, refs: dict[str, Any], *, signed: bool = False, **data: Any) -> None:
        self.ledger.record(Event(kind, actor, data, refs), signer=people()[actor] if signed else None)
