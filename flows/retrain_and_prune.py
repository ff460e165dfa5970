"""From a manifest to a proposed release.

prefect deploy flows.retrain_and_prune.retrain_and_prune     # a module path; a file path would load a second copy
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.engine import engine
from policies.document import load_policy
from pruneguard import home, lifecycle
from pruneguard.cli.terminal import Terminal
from pruneguard.evaluation.evaluate import Contender
from pruneguard.evidence import Evidence
from pruneguard.ledger.keys import Signer, load_signer
from pruneguard.ledger.ledger import Recorded
from pruneguard.lifecycle import Attempt, Job
from pruneguard.manifest import load_manifest
from pruneguard.reporting import listener
from pruneguard.settings import Settings, load_settings
from pruneguard.verdict import Finding, Verdict
from pruneguard.workload import load


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """How a run ended: the candidate it chose, if any, and the numbers of the releases that now wait for approval."""

    job: Job
    data: Evidence
    twin: Contender
    attempts: tuple[Attempt, ...]
    chosen: Attempt | None
    verdict: Verdict | None
    proposed: tuple[int, ...]

    @property
    def passed(self) -> bool:
        return self.verdict is not None and self.verdict.passed


@flow(name="retrain-and-prune", validate_parameters=False)
def retrain_and_prune(manifest: str, key: str | None = None) -> Outcome:
    """Admit, train, search, judge, propose. What follows needs somebody else's signature."""
    settings = load_settings()
    passphrase = settings.passphrase.get_secret_value().encode()
    signer = load_signer(Path(key) if key else settings.keys_dir / "ada.key", passphrase=passphrase)
    outcome = walk(begin(Path(manifest), settings, signer))
    lifecycle.finish(outcome.job, "proposed" if outcome.passed else "nothing passed")
    return outcome


def walk(job: Job) -> Outcome:
    """The runbook, for this flow and for any that goes on from here."""
    report = listener.get()
    try_gates(job)
    report.step("1 admit: what are the data?")
    data = admit(job)
    report.step("2 train: the dense twin")
    twin = train(job)
    report.step("3 search: the sparsest candidate that the policy lets pass")
    attempts = tuple(attempt(job, twin, data, ratio) for ratio in job.manifest.ratios)
    chosen = lifecycle.choose(attempts)
    report.step("4 judge: the final verdict, on rows that the search never saw")
    first = needs_twin(job)
    fallback = propose_twin(job, twin, data) if first else ()
    # A pruned version with nothing to fall back to is not proposed, and needs no look at the release rows.
    verdict = judge(job, chosen, twin, data) if chosen and (fallback or not first) else None
    proposed = (*fallback, *propose(job, chosen, verdict)) if chosen and verdict and verdict.passed else fallback
    return Outcome(job, data, twin, attempts, chosen, verdict, proposed)


@task(cache_policy=NO_CACHE)
def begin(manifest: Path, settings: Settings, signer: Signer) -> Job:
    """Check all that a run needs before anything is recorded."""
    if settings.training_threads:
        torch.set_num_threads(settings.training_threads)
    document = load_manifest(manifest)
    return lifecycle.begin(
        document,
        load_policy(document.policy, relative_to=document.path.parent),
        data_dir=settings.data_dir,
        ledger=home.open_ledger(settings),
        artifacts=home.artifacts(settings),
        signer=signer,
        watts_per_core=settings.watts_per_core,
    )


@task(cache_policy=NO_CACHE)
def try_gates(job: Job) -> None:
    """Gates that let bad evidence pass stop the run here."""
    trial = lifecycle.try_gates(job)
    listener.get().say(f"the gates refused {trial.refused} of {trial.of} pieces of evidence that were bad on purpose")


@task(cache_policy=NO_CACHE)
def admit(job: Job) -> Evidence:
    evidence = lifecycle.admit(job)
    listener.get().say(f"snapshot {evidence.subject[:19]}: {wording(evidence, 'data.')}")
    return evidence


@task(cache_policy=NO_CACHE)
def train(job: Job) -> Contender:
    return lifecycle.train(job)


@task(cache_policy=NO_CACHE, task_run_name="attempt-{ratio}")
def attempt(job: Job, twin: Contender, data: Evidence, ratio: float) -> Attempt:
    tried = lifecycle.attempt(job, twin, data, ratio=ratio)
    tell(f"{ratio:.0%} of the {job.manifest.method.parts}, {lifecycle.accuracy(tried.evidence):.1f} %", tried.verdict)
    return tried


@task(cache_policy=NO_CACHE)
def judge(job: Job, chosen: Attempt, twin: Contender, data: Evidence) -> Verdict:
    evidence, verdict = lifecycle.judge(job, chosen.candidate, twin, data)
    tell(f"the candidate, {lifecycle.accuracy(evidence):.1f} %", verdict, every=True)
    return verdict


@task(cache_policy=NO_CACHE)
def propose_twin(job: Job, twin: Contender, data: Evidence) -> tuple[int, ...]:
    """A model's first release is its dense twin: what a pruned version can fall back to."""
    evidence, verdict = lifecycle.judge(job, twin, twin, data)
    tell(f"the dense twin, {lifecycle.accuracy(evidence):.1f} %", verdict)
    return (_number(lifecycle.propose(job, twin, verdict)),) if verdict.passed else ()


@task(cache_policy=NO_CACHE)
def propose(job: Job, chosen: Attempt, verdict: Verdict) -> tuple[int, ...]:
    return (_number(lifecycle.propose(job, chosen.candidate, verdict)),)


def needs_twin(job: Job) -> bool:
    """Whether nothing was ever live, or this run (which was interrupted then) has proposed its twin already."""
    model = job.ledger.state().models[job.manifest.model]
    return not any(r.was_live for r in model.releases.values())


def _number(recorded: Recorded) -> int:
    return int(recorded.event.data["number"])


def tell(what: str, verdict: Verdict, *, every: bool = False) -> None:
    """Say how a verdict went, with every objection, or with every finding."""
    say = listener.get().say
    say(f"{what}: {'passed' if verdict.passed else 'REJECTED'}, {len(verdict.findings)} rules")
    for finding in verdict.findings if every else verdict.objections:
        say(f"    {sentence(finding)}")


def sentence(finding: Finding) -> str:
    return f"{finding.outcome:<12} {finding.rule}: {finding.observed}, required {finding.required}"


def wording(evidence: Evidence, prefix: str) -> str:
    """The evidence below a prefix in one line."""
    parts = (
        f"{name.removeprefix(prefix).replace('_', ' ')} {getattr(measured, 'value', measured):g}"
        for name, measured in evidence.measurements.items()
        if name.startswith(prefix)
    )
    return ", ".join(parts)


def main(manifest: Path, settings: Settings, *, key: Path) -> int:
    """`pruneguard run`: 0 when a release is proposed, 1 when no candidate passed."""
    home.open_ledger(settings, verify=True).close()  # an edited ledger stops here, before any work
    document = load_manifest(manifest)  # so do most mistakes: the engine takes seconds to start
    load_policy(document.policy, relative_to=document.path.parent)
    load(document.workload_file, document.workload_class)
    with Terminal() as terminal, engine():
        terminal.progress("starting the flow engine, loading the workload")
        outcome = retrain_and_prune(str(manifest), str(key))
        terminal.step("outcome")
        for tried in outcome.attempts:
            mark = "chosen" if tried is outcome.chosen else "passed" if tried.verdict.passed else "rejected"
            share = f"{tried.ratio:.0%} of the {document.method.parts}"
            terminal.say(f"{share}: {mark}, {lifecycle.accuracy(tried.evidence):.1f} %")
        for number in outcome.proposed:
            terminal.say(f"next: pruneguard approve {outcome.job.manifest.model} {number} --reason ...")
        if not outcome.passed:
            terminal.say(f"no pruned version is proposed; {remedies(outcome.attempts)}")
    return 0 if outcome.passed else 1


def remedies(attempts: Sequence[Attempt]) -> str:
    """What the policy suggests to whoever has no candidate: the least pruned one's objections."""
    if not any(attempt.verdict.objections for attempt in attempts[:1]):
        return "the objections stand above; how somebody else takes one on: pruneguard waive --help"
    return " ".join(dict.fromkeys(finding.remedy for finding in attempts[0].verdict.objections))
