"""A model that answers with numbers, from its manifest to a proposed release that can be watched."""

from pathlib import Path

from monitors.twin import Baseline
from policies.document import load_policy
from pruneguard import attempts, lifecycle, testing
from pruneguard.artifacts import Artifacts
from pruneguard.evaluation.marking import Marking
from pruneguard.evaluation.sessions import Session
from pruneguard.manifest import load_manifest
from pruneguard.releases import adopt
from pruneguard.search import Trial

MANIFEST = Path(__file__).parent / "numbers" / "manifest.yaml"


def test_a_regression_is_trained_pruned_judged_and_proposed(tmp_path: Path) -> None:
    ledger, artifacts = testing.memory_ledger(), Artifacts(str(tmp_path))
    testing.register(ledger)
    manifest = load_manifest(MANIFEST)
    policy = load_policy(manifest.policy, relative_to=MANIFEST.parent)
    adopt(ledger, artifacts, policy=policy, signer=testing.people()["grace"])
    job = lifecycle.begin(
        manifest, policy, data_dir=tmp_path, ledger=ledger, artifacts=artifacts, signer=testing.people()["ada"]
    )
    lifecycle.try_gates(job)
    data = lifecycle.admit(job)
    twin = lifecycle.train(job)

    tried = attempts.attempt(job, twin, data, Trial("channels", 0.5))

    assert tried.verdict is not None
    assert tried.verdict.passed
    assert tried.candidate is not None
    evidence, verdict = lifecycle.judge(job, tried.candidate, twin.contender, data)
    assert verdict.passed
    assert len(verdict.findings) == 4
    lifecycle.propose(job, tried.candidate, verdict)
    assert ledger.state().violations == []
    assert Session(tried.candidate.onnx).classes is None
    baseline = Baseline.from_evidence([data, evidence], subject=tried.candidate.digest, tolerance=0.02)
    assert baseline.marking == Marking(0.5)
