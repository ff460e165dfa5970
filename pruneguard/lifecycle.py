"""The steps from a manifest to a proposed release, each recorded once.

1. begin    refuse what cannot work; start the run, or take up the one that was interrupted; try the gates
2. admit    what the data are: digest, expectations, leakage, imbalance
3. train    the dense twin
*. search   candidates on the gate split, and the best of them (`pruneguard.attempts`)
4. judge    the final verdict, on the release split, which no search has seen
5. propose  a release that somebody else must approve

A step's event carries the run and the step as its causation id: a run that was killed finds what it did and goes on
with what it did not. No framework here; `flows/` decides when these steps happen.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from torch import nn

from pruneguard import energy, pruning, releases
from pruneguard.artifacts import Artifacts
from pruneguard.crossing import Crossing, Fold
from pruneguard.errors import IntegrityError, InvalidInputError
from pruneguard.evaluation import data_quality
from pruneguard.evaluation.correctness import crossing
from pruneguard.evaluation.estimates import exact
from pruneguard.evaluation.evaluate import Contender, evaluate
from pruneguard.evaluation.fairness import feedback
from pruneguard.evaluation.fairness.feedback import Served
from pruneguard.evaluation.family import Family
from pruneguard.evidence import Evidence
from pruneguard.gates import judge as decide
from pruneguard.gates import stopping
from pruneguard.gates.selftest import SelfTest, self_test
from pruneguard.ledger.events import Event, utc
from pruneguard.ledger.keys import Signer
from pruneguard.ledger.ledger import Ledger, Recorded
from pruneguard.manifest import Manifest
from pruneguard.policy import Policy
from pruneguard.pruning import deploying, matching, weights
from pruneguard.pruning.shop import Known
from pruneguard.reporting import listener, working
from pruneguard.verdict import Verdict
from pruneguard.workload import Snapshot, Workload, ask, load

FAILED_SHOWN = 4
"""Failed expectations that are told one by one; all of them are in the evidence."""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One run: what a user brought, who answers for it, where it is recorded, and the folder for its pages."""

    run: str
    manifest: Manifest
    policy: Policy
    workload: Workload
    snapshot: Snapshot
    ledger: Ledger
    artifacts: Artifacts
    signer: Signer
    reports: Path = Path("searches")
    watts_per_core: float = energy.WATTS_PER_CORE
    began: energy.Reading = field(default_factory=energy.Reading.now)
    folds: list[Fold] = field(default_factory=list)

    @property
    def crossing(self) -> Crossing:
        """Cross-validation, with the dense networks of its folds that are trained already."""
        return Crossing(self.workload, self.snapshot, self.manifest, self.folds)


@dataclass(frozen=True, slots=True, eq=False)
class Twin:
    """The dense network, its weights early in training (None where the workload trains by itself), and what is known
    of it from one candidate to the next.
    """

    contender: Contender
    early: bytes | None
    known: Known = field(default_factory=Known)

    @property
    def digest(self) -> str:
        return self.contender.digest

    @property
    def model(self) -> nn.Module:
        return self.contender.model


# 1


def begin(
    manifest: Manifest,
    policy: Policy,
    *,
    data_dir: Path,
    ledger: Ledger,
    artifacts: Artifacts,
    signer: Signer,
    reports: Path = Path("searches"),
    watts_per_core: float = energy.WATTS_PER_CORE,
) -> Job:
    """Load and check everything a run needs before anything is recorded, then start the run or take it up again.

    Raises InvalidInputError for a workload, data or policy that cannot work, and when the signer may not run.
    """
    began = energy.Reading.now()
    state = ledger.state()
    if policy.digest not in state.policies:
        raise InvalidInputError(
            f"policy {policy.name} {policy.version} ({policy.digest}) was never adopted here; "
            f"an approver adopts it: pruneguard approve --policy {manifest.policy_file or manifest.policy}"
        )
    workload = load(manifest.workload_file, manifest.workload_class)
    snapshot = ask(workload, "data", data_dir)
    data_quality.require_usable(snapshot)
    data_quality.papers(workload)
    matching.require_matching(workload, snapshot)
    manifest = replace(manifest, policy_digest=policy.digest)
    interrupted = (
        r
        for r in state.runs.values()
        if r.manifest == manifest.digest
        and r.outcome is None
        and _of_data(ledger, r.id, snapshot.digest)
        and _is_fresh(ledger, r.id, policy)
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
    return Job(name, manifest, policy, workload, snapshot, ledger, artifacts, signer, reports, watts_per_core, began)


def try_gates(job: Job) -> SelfTest:
    """Give every rule of the policy evidence that it must refuse, before any of them judges, and record the report.

    Raises IntegrityError when one lets some of it pass: what such a gate says of a model would be worth nothing.
    """
    trial = self_test(job.policy)
    if done(job, "self-test") is None:
        refs = {"policy": job.artifacts.put(job.policy.encode()), "report": job.artifacts.put(trial.encode())}
        record(job, "self-test", "gates.self_tested", refs=refs, refused=trial.refused, of=trial.of)
    if not trial.passed:
        let = next((t for t in trial.trials if not t.refused), None)
        what = f"rule {let.rule!r} let evidence pass that was {let.seeded}" if let else "nothing was tried"
        raise IntegrityError(f"the gates failed their own trial: {what}; judge nothing with this program")
    for rule in trial.impassable:
        listener.get().say(f"rule {rule!r} refused even evidence that stands on its limit; check that it can be met")
    return trial


# 2


def admit(job: Job, served: Sequence[Served] | None = None) -> Evidence:
    """Measure the data and record the snapshot.

    `served` is what earlier versions of the model answered in traffic, None where nobody looked.
    """
    if (past := done(job, "admit")) is not None:
        return Evidence.decode(job.artifacts.get(past.refs["evidence"]))
    with working("running the expectations"):
        admission = data_quality.admit(job.snapshot, data_quality.papers(job.workload))
    for sentence in sorted(admission.failed)[:FAILED_SHOWN]:  # "critical: ..." before "warning: ..."
        listener.get().say(sentence)
    if (more := len(admission.failed) - FAILED_SHOWN) > 0:
        listener.get().say(f"and {more} more expectations that failed")
    earlier = _opened_by(job)
    if earlier:
        listener.get().say(
            f"runs before this one that looked at these release rows: {len(earlier)}, the last of them {earlier[-1]}; "
            "each look is another chance to pass by luck: bring new rows"
        )
    measured = {**admission.evidence.measurements, "data.openings": exact(len(earlier), n=len(job.snapshot.release))}
    if served is not None and not job.snapshot.numeric:
        measured |= feedback.measure(job.snapshot, served, seed=job.manifest.seed)
    context = {**admission.evidence.context, "feedback": _looked_at(job, served)}
    evidence = replace(admission.evidence, measurements=measured, context=context, measured_at=utc(datetime.now(UTC)))
    refs = {
        "data": evidence.subject,
        "evidence": job.artifacts.put(evidence.encode()),
        "expectations": job.artifacts.put(admission.expectations),
        "page": job.artifacts.put(admission.page),
    }
    record(job, "admit", "data.admitted", refs=refs)
    return evidence


def _looked_at(job: Job, served: Sequence[Served] | None) -> str:
    """Whether labels could be held against earlier answers, in words."""
    if served is None:
        return "nobody looked at what earlier versions answered"
    if job.snapshot.numeric:
        return "takes classes, and the answers are numbers"
    if not served:
        return "no earlier version has answered in traffic, as far as the ledger tells"
    told = ", ".join(f"release {each.number} {len(each.said)}" for each in served)
    return f"rows answered in traffic: {told}"


def _opened_by(job: Job) -> list[str]:
    """The runs before this one in which a pruned candidate was judged on the release rows of this snapshot."""
    given = (verdict for model in job.ledger.state().models.values() for verdict in model.verdicts)
    looks = (v.run for v in given if v.split == "release" and v.data == job.snapshot.digest and v.candidate != v.twin)
    return list(dict.fromkeys(run for run in looks if run != job.run))


# 3


def train(job: Job) -> Twin:
    """Train the dense twin and export the artefact that stands for it."""
    if (past := done(job, "train")) is not None:
        return trained(job.workload, job.artifacts, past)
    manifest = job.manifest
    early: list[bytes] = []
    bar = listener.get().progress("training the dense twin")
    model = pruning.twin(
        job.workload, job.snapshot, epochs=manifest.train_epochs, seed=manifest.seed, early=early.append, progress=bar
    )
    onnx = deploying.exported(model, job.snapshot)
    refs = {
        "model": job.artifacts.put(onnx),
        "weights": job.artifacts.put(weights.dump(model)),
        "data": job.snapshot.digest,
    }
    if early:
        refs["early"] = job.artifacts.put(early[0])
    record(job, "train", "model.trained", refs=refs)
    return Twin(Contender(refs["model"], onnx, model), early[0] if early else None)


def trained(workload: Workload, artifacts: Artifacts, event: Event) -> Twin:
    """The twin that a `model.trained` event speaks of."""
    model = workload.build()
    weights.load(model, artifacts.get(event.refs["weights"]))
    early = artifacts.get(event.refs["early"]) if "early" in event.refs else None
    return Twin(Contender(event.refs["model"], artifacts.get(event.refs["model"]), model.eval()), early)


# 4


def judge(job: Job, candidate: Contender, twin: Contender, data: Evidence) -> tuple[Evidence, Verdict]:
    """The final verdict, on rows that the search never saw; everything is measured that makes sense for the data, and
    on demand what the policy names."""
    bar = listener.get().progress("measuring on the release split")
    named = stopping.wanted(job.policy, pruned=candidate.digest != twin.digest)
    return judged(
        job,
        candidate,
        twin,
        data,
        split="release",
        step=f"judge/{candidate.digest}",
        measure=lambda: evaluate(
            candidate,
            twin,
            job.snapshot,
            split="release",
            seed=job.manifest.seed,
            wanted=named,
            crossed=job.crossing.of_twin() if candidate.digest == twin.digest else _crossed(job, candidate),
            watts_per_core=job.watts_per_core,
            progress=bar,
        ),
    )


def _crossed(job: Job, candidate: Contender) -> Family:
    """What cross-validation told the search of this candidate's recipe: it is about no split, and is not made twice."""
    given = job.ledger.state().models[job.manifest.model].verdicts
    digests = (
        d for v in given if (v.run, v.candidate, v.split) == (job.run, candidate.digest, "gate") for d in v.evidence
    )
    measured = {
        name: measurement
        for digest in digests
        for name, measurement in Evidence.decode(job.artifacts.get(digest)).measurements.items()
        if name.startswith(f"{crossing.NAME}.")
    }
    lacks = None if measured else "the search has not measured it"
    return Family(crossing.NAME, lambda: measured, lacks=lambda: lacks, on_demand=True)


def judged(
    job: Job,
    candidate: Contender,
    twin: Contender,
    data: Evidence,
    *,
    split: str,
    step: str,
    measure: Callable[[], Evidence],
) -> tuple[Evidence, Verdict]:
    """What was measured on a split and what the policy says of it, recorded; read again where it was recorded."""
    if (past := done(job, step)) is not None:
        evidence = Evidence.decode(job.artifacts.get(past.refs["evidence"][-1]))
        return evidence, Verdict.decode(job.artifacts.get(past.refs["verdict"]))
    evidence = replace(measure(), measured_at=(now := utc(datetime.now(UTC))))
    subjects = {"candidate": candidate.digest, "twin": twin.digest, "data": data.subject}
    verdict = decide(job.policy, [data, evidence], **subjects, at=now)
    refs = {
        "model": candidate.digest,
        "parent": twin.digest,
        "data": data.subject,
        "policy": job.artifacts.put(job.policy.encode()),
        "evidence": [job.artifacts.put(data.encode()), job.artifacts.put(evidence.encode())],
        "verdict": job.artifacts.put(verdict.encode()),
    }
    record(job, step, "verdict.given", refs=refs, at=now, split=split, **verdict.outline)
    return evidence, verdict


# 5


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
    record(job, "finish", "run.finished", outcome=outcome, **used)


def done(job: Job, step: str) -> Event | None:
    """What a step of this run left on record, if it was done."""
    return _event(job.ledger, job.run, step)


def _event(ledger: Ledger, run: str, step: str) -> Event | None:
    index = ledger.state().causations.get(f"{run}/{step}")
    return None if index is None else ledger.entry(index).event


def _of_data(ledger: Ledger, run: str, digest: str) -> bool:
    """Whether a run has admitted these rows, or none yet: a run never goes on with other data than it began with."""
    admitted = _event(ledger, run, "admit")
    return admitted is None or admitted.refs["data"] == digest


def _is_fresh(ledger: Ledger, run: str, policy: Policy) -> bool:
    """Whether what a run has measured of its data counts still: what its policy calls too old lets nothing pass."""
    admitted = _event(ledger, run, "admit")
    if admitted is None or policy.evidence_days_max is None:
        return True
    age = datetime.now(UTC) - datetime.fromisoformat(admitted.time)
    return age <= timedelta(days=policy.evidence_days_max)


def record(
    job: Job, step: str, type_: str, *, refs: dict[str, Any] | None = None, at: str | None = None, **data: Any
) -> Recorded:
    """Put on record that a step of this run is done, now or `at` the time that its decision rests on."""
    event = Event(
        type=type_,
        actor=job.signer.actor,
        data={"run": job.run, "model": job.manifest.model, **data},
        refs=refs or {},
        causation=f"{job.run}/{step}",
        time=at or utc(datetime.now(UTC)),
    )
    return job.ledger.record(event)
