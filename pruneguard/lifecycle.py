"""The steps from a manifest to a proposed release, each recorded once.

1. begin    refuse what cannot work; start the run, or take up the one that was interrupted; try the gates
2. admit    what the data are: digest, expectations, leakage, imbalance
3. train    the dense twin
4. attempt  one candidate: prune, recover, export, measure on the gate split, judge
5. choose   the sparsest that passed
6. judge    the final verdict, on the release split, which no search has seen
7. propose  a release that somebody else must approve

A step's event carries the run and the step as its causation id: a run that was killed finds what it did and goes on
with what it did not. No framework here; `flows/` decides when these steps happen.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pruneguard import energy, pruning, releases
from pruneguard.artifacts import Artifacts
from pruneguard.errors import IntegrityError, InvalidInputError
from pruneguard.evaluation import data_quality
from pruneguard.evaluation.evaluate import Contender, evaluate
from pruneguard.evidence import Estimate, Evidence
from pruneguard.gates import judge as decide
from pruneguard.gates.selftest import SelfTest, self_test
from pruneguard.ledger.events import Event
from pruneguard.ledger.keys import Signer
from pruneguard.ledger.ledger import Ledger, Recorded
from pruneguard.manifest import Manifest
from pruneguard.policy import Policy
from pruneguard.pruning import export, lineage, matching, weights
from pruneguard.reporting import listener, working
from pruneguard.verdict import Verdict
from pruneguard.workload import Snapshot, Workload, ask, load

FAILED_SHOWN = 4
"""Failed expectations that are told one by one; all of them are in the evidence."""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One run: what a user brought, who answers for it, and where it is recorded."""

    run: str
    manifest: Manifest
    policy: Policy
    workload: Workload
    snapshot: Snapshot
    ledger: Ledger
    artifacts: Artifacts
    signer: Signer
    watts_per_core: float = energy.WATTS_PER_CORE
    began: energy.Reading = field(default_factory=energy.Reading.now)


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """One candidate that the search tried. `ratio` is the share of channels, or of weights, asked to go."""

    ratio: float
    candidate: Contender
    evidence: Evidence
    verdict: Verdict


# 1


def begin(
    manifest: Manifest,
    policy: Policy,
    *,
    data_dir: Path,
    ledger: Ledger,
    artifacts: Artifacts,
    signer: Signer,
    watts_per_core: float = energy.WATTS_PER_CORE,
) -> Job:
    """Load and check everything a run needs before anything is recorded, then start the run or take it up again.

    Raises InvalidInputError for a workload, data or policy that cannot work, and when the signer may not run.
    """
    began = energy.Reading.now()
    workload = load(manifest.workload_file, manifest.workload_class)
    snapshot = ask(workload, "data", data_dir)
    data_quality.require_usable(snapshot)
    matching.require_matching(workload, snapshot)
    state = ledger.state()
    if policy.digest not in state.policies:
        raise InvalidInputError(
            f"policy {policy.name} {policy.version} ({policy.digest}) was never adopted here; "
            f"an approver adopts it: pruneguard approve --policy {manifest.policy_file or manifest.policy}"
        )
    interrupted = (
        r
        for r in state.runs.values()
        if r.manifest == manifest.digest and r.outcome is None and _of_data(ledger, r.id, snapshot.digest)
    )
    if (run := next(interrupted, None)) is None:
        number = 1 + sum(r.model == manifest.model for r in state.runs.values())
        event = Event(
            type="run.started",
            actor=signer.actor,
            data={"run": f"{manifest.model}-{number}", "model": manifest.model},
            refs={"manifest": artifacts.put(manifest.encode())},
        )
        ledger.record(event, signer=signer)
        name = str(event.data["run"])
    else:
        listener.get().say(f"run {run.id} was interrupted; it goes on where it stopped")
        name = run.id
    return Job(name, manifest, policy, workload, snapshot, ledger, artifacts, signer, watts_per_core, began)


def try_gates(job: Job) -> SelfTest:
    """Give every rule of the policy evidence that it must refuse, before any of them judges, and record the report.

    Raises IntegrityError when one lets some of it pass: what such a gate says of a model would be worth nothing.
    """
    trial = self_test(job.policy)
    if _done(job, "self-test") is None:
        refs = {"policy": job.artifacts.put(job.policy.encode()), "report": job.artifacts.put(trial.encode())}
        _record(job, "self-test", "gates.self_tested", refs=refs, refused=trial.refused, of=trial.of)
    if not trial.passed:
        let = next((t for t in trial.trials if not t.refused), None)
        what = f"rule {let.rule!r} let evidence pass that was {let.seeded}" if let else "nothing was tried"
        raise IntegrityError(f"the gates failed their own trial: {what}; judge nothing with this program")
    for rule in trial.impassable:
        listener.get().say(f"rule {rule!r} refused even evidence that stands on its limit; check that it can be met")
    return trial


# 2


def admit(job: Job) -> Evidence:
    """Measure the data and record the snapshot."""
    if (done := _done(job, "admit")) is not None:
        return Evidence.decode(job.artifacts.get(done.refs["evidence"]))
    with working("running the expectations"):
        admission = data_quality.admit(job.snapshot)
    for sentence in sorted(admission.failed)[:FAILED_SHOWN]:  # "critical: ..." before "warning: ..."
        listener.get().say(sentence)
    if (more := len(admission.failed) - FAILED_SHOWN) > 0:
        listener.get().say(f"and {more} more expectations that failed")
    refs = {
        "data": admission.evidence.subject,
        "evidence": job.artifacts.put(admission.evidence.encode()),
        "expectations": job.artifacts.put(admission.expectations),
    }
    _record(job, "admit", "data.admitted", refs=refs)
    return admission.evidence


# 3


def train(job: Job) -> Contender:
    """Train the dense twin and export the artefact that stands for it."""
    if (done := _done(job, "train")) is not None:
        model = job.workload.build()
        weights.load(model, job.artifacts.get(done.refs["weights"]))
        return Contender(done.refs["model"], job.artifacts.get(done.refs["model"]), model)
    manifest = job.manifest
    bar = listener.get().progress("training the dense twin")
    model = pruning.twin(job.workload, job.snapshot, epochs=manifest.train_epochs, seed=manifest.seed, progress=bar)
    onnx = _export(job, model)
    refs = {
        "model": job.artifacts.put(onnx),
        "weights": job.artifacts.put(weights.dump(model)),
        "data": job.snapshot.digest,
    }
    _record(job, "train", "model.trained", refs=refs)
    return Contender(refs["model"], onnx, model)


# 4


def attempt(job: Job, twin: Contender, data: Evidence, *, ratio: float) -> Attempt:
    """Prune one candidate, let it recover, and judge it on the gate split."""
    candidate = _candidate(job, twin, ratio)
    evidence, verdict = _judge(job, candidate, twin, data, split="gate", step=f"attempt/{ratio:g}/judge")
    return Attempt(ratio, candidate, evidence, verdict)


def _candidate(job: Job, twin: Contender, ratio: float) -> Contender:
    step, manifest = f"attempt/{ratio:g}/prune", job.manifest
    if (done := _done(job, step)) is not None:
        made_so = lineage.decode(job.artifacts.get(done.refs["lineage"]))
        model = pruning.shaped(twin.model, made_so, job.snapshot.train.x[:1])
        weights.load(model, job.artifacts.get(done.refs["weights"]))
        return Contender(done.refs["model"], job.artifacts.get(done.refs["model"]), model)
    made = pruning.candidate(
        job.workload,
        twin.model,
        job.snapshot,
        ratio=ratio,
        epochs=manifest.finetune_epochs,
        seed=manifest.seed,
        method=manifest.method,
        round_to=manifest.round_to,
        progress=listener.get().progress(f"pruning {ratio:.0%} of the {manifest.method.parts}, recovering"),
    )
    onnx = _export(job, made.model)
    refs = {
        "model": job.artifacts.put(onnx),
        "weights": job.artifacts.put(weights.dump(made.model)),
        "parent": twin.digest,
        "data": job.snapshot.digest,
        "lineage": job.artifacts.put(made.lineage.encode()),
    }
    if made.masks is not None:
        refs["masks"] = job.artifacts.put(made.masks)
    _record(job, step, "model.pruned", refs=refs, recipe={"method": manifest.method.value, "ratio": f"{ratio:g}"})
    return Contender(refs["model"], onnx, made.model)


# 5


def choose(attempts: Sequence[Attempt]) -> Attempt | None:
    """The sparsest candidate that the policy let pass, or None."""
    return max((a for a in attempts if a.verdict.passed), key=lambda a: a.ratio, default=None)


# 6


def judge(job: Job, candidate: Contender, twin: Contender, data: Evidence) -> tuple[Evidence, Verdict]:
    """The final verdict, on rows that the search never saw."""
    return _judge(job, candidate, twin, data, split="release", step=f"judge/{candidate.digest}")


def _judge(
    job: Job, candidate: Contender, twin: Contender, data: Evidence, *, split: str, step: str
) -> tuple[Evidence, Verdict]:
    if (done := _done(job, step)) is not None:
        evidence = Evidence.decode(job.artifacts.get(done.refs["evidence"][-1]))
        return evidence, Verdict.decode(job.artifacts.get(done.refs["verdict"]))
    evidence = evaluate(
        candidate,
        twin,
        job.snapshot,
        split=split,
        seed=job.manifest.seed,
        progress=listener.get().progress(f"measuring on the {split} split"),
    )
    verdict = decide(job.policy, [data, evidence], candidate=candidate.digest, twin=twin.digest, data=data.subject)
    refs = {
        "model": candidate.digest,
        "parent": twin.digest,
        "data": data.subject,
        "policy": job.artifacts.put(job.policy.encode()),
        "evidence": [job.artifacts.put(data.encode()), job.artifacts.put(evidence.encode())],
        "verdict": job.artifacts.put(verdict.encode()),
    }
    _record(job, step, "verdict.given", refs=refs, split=split, **verdict.outline)
    return evidence, verdict


# 7


def propose(job: Job, candidate: Contender, verdict: Verdict) -> Recorded:
    """Put a candidate with a passing verdict forward; somebody who did not make it must approve it."""
    return releases.propose(
        job.ledger,
        model=job.manifest.model,
        candidate=candidate.digest,
        verdict=verdict.digest,
        causation=f"{job.run}/propose/{candidate.digest}",
        signer=job.signer,
    )


def finish(job: Job, outcome: str) -> None:
    """End the run, with what it has cost; a run that ended is never taken up again."""
    used: dict[str, Any] = energy.used(job.began, watts_per_core=job.watts_per_core)
    _record(job, "finish", "run.finished", outcome=outcome, **used)


def accuracy(evidence: Evidence) -> float:
    """The candidate's accuracy in percent, for people to read."""
    measured = evidence.get("quality.accuracy")
    return 100 * measured.value if isinstance(measured, Estimate) else float("nan")


def _export(job: Job, model: Any) -> bytes:
    with working("exporting to ONNX"):
        return export.to_onnx(model, job.snapshot.gate.x[:64], classes=job.snapshot.classes)


def _done(job: Job, step: str) -> Event | None:
    return _event(job.ledger, job.run, step)


def _event(ledger: Ledger, run: str, step: str) -> Event | None:
    index = ledger.state().causations.get(f"{run}/{step}")
    return None if index is None else ledger.entry(index).event


def _of_data(ledger: Ledger, run: str, digest: str) -> bool:
    """Whether a run has admitted these rows, or none yet: a run never goes on with other data than it began with."""
    admitted = _event(ledger, run, "admit")
    return admitted is None or admitted.refs["data"] == digest


def _record(job: Job, step: str, type_: str, *, refs: dict[str, Any] | None = None, **data: Any) -> Recorded:
    event = Event(
        type=type_,
        actor=job.signer.actor,
        data={"run": job.run, "model": job.manifest.model, **data},
        refs=refs or {},
        causation=f"{job.run}/{step}",
    )
    return job.ledger.record(event)
