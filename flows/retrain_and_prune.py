"""From a manifest to a proposed release.

prefect deploy flows.retrain_and_prune.retrain_and_prune     # a module path; a file path would load a second copy
"""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import torch
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.engine import engine
from monitors.served import served
from policies.document import load_policy
from pruneguard import attempts, files, home, lifecycle, searched
from pruneguard.attempts import Attempt
from pruneguard.cli.terminal import Terminal
from pruneguard.evaluation.contender import Contender
from pruneguard.evaluation.yardstick import Yardstick
from pruneguard.evidence import Evidence
from pruneguard.gates import stopping
from pruneguard.ledger.keys import Signer, load_signer
from pruneguard.ledger.ledger import Recorded
from pruneguard.lifecycle import Job, Twin
from pruneguard.manifest import load_manifest
from pruneguard.reporting import listener
from pruneguard.search import Trial, next_trial, remaining
from pruneguard.settings import Settings, load_settings
from pruneguard.verdict import Finding, Verdict
from pruneguard.verdict import Outcome as FindingOutcome
from pruneguard.workload import load


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """How a run ended: the candidate it chose, if any, and the numbers of the releases that now wait for approval."""

    job: Job
    data: Evidence
    twin: Twin
    attempts: tuple[Attempt, ...]
    chosen: Attempt | None
    verdict: Verdict | None = None
    proposed: tuple[int, ...] = ()

    @property
    def passed(self) -> bool:
        return self.verdict is not None and self.verdict.passed


@flow(name="retrain-and-prune", validate_parameters=False)
def retrain_and_prune(manifest: str, key: str | None = None) -> Outcome:
    """Admit, train, search, judge, propose. What follows needs somebody else's signature."""
    outcome = walk(started(manifest, key))
    lifecycle.finish(outcome.job, "proposed" if outcome.passed else "nothing passed")
    return outcome


@flow(name="search", validate_parameters=False)
def search_only(manifest: str, key: str | None = None) -> Outcome:
    """Admit, train, search. The release split stays closed and the run open: `retrain_and_prune` goes on from here."""
    return search(started(manifest, key))


def started(manifest: str, key: str | None) -> Job:
    settings = load_settings()
    passphrase = settings.passphrase.get_secret_value().encode()
    signer = load_signer(Path(key) if key else settings.keys_dir / "ada.key", passphrase=passphrase)
    return begin(Path(manifest), settings, signer)


def walk(job: Job) -> Outcome:
    """The runbook, for this flow and for any that goes on from here."""
    found = search(job)
    data, twin, chosen = found.data, found.twin, found.chosen
    listener.get().step("4 judge: the final verdict, on rows that the search never saw")
    first = needs_twin(job)
    fallback = propose_twin(job, twin, data) if first else ()
    # A pruned version with nothing to fall back to is not proposed, and needs no look at the release rows.
    candidate = chosen.candidate if chosen and (fallback or not first) else None
    verdict = judge(job, candidate, twin, data) if candidate else None
    proposed = (*fallback, *propose(job, candidate, verdict)) if candidate and verdict and verdict.passed else fallback
    return replace(found, verdict=verdict, proposed=proposed)


def search(job: Job) -> Outcome:
    """Steps 1 to 3: what the policy lets pass, seen on the gate split."""
    report = listener.get()
    try_gates(job)
    report.step("1 admit: what are the data?")
    data = admit(job)
    report.step("2 train: the dense twin")
    twin = train(job)
    report.step("3 search: the smallest candidate that the policy lets pass")
    tried = try_candidates(job, twin, data)
    return Outcome(job, data, twin, tried, attempts.choose(job, tried))


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
        reports=settings.searches,
        watts_per_core=settings.watts_per_core,
    )


@task(cache_policy=NO_CACHE)
def try_gates(job: Job) -> None:
    """Gates that let bad evidence pass stop the run here."""
    trial = lifecycle.try_gates(job)
    listener.get().say(f"the gates refused {trial.refused} of {trial.of} pieces of evidence that were bad on purpose")


@task(cache_policy=NO_CACHE)
def admit(job: Job) -> Evidence:
    before = served(
        job.ledger.state().models[job.manifest.model], job.artifacts, key=home.observations_key(load_settings())
    )
    evidence = lifecycle.admit(job, before)
    listener.get().say(f"snapshot {evidence.subject[:19]}: {wording(evidence, 'data.')}")
    listener.get().say(f"what was found in it: {data_page(job)}")
    return evidence


@task(cache_policy=NO_CACHE)
def train(job: Job) -> Twin:
    return lifecycle.train(job)


def try_candidates(job: Job, twin: Twin, data: Evidence) -> tuple[Attempt, ...]:
    """Try candidates until no better one can pass, and leave a picture of all of them."""
    space, yardstick, say = attempts.space(job, twin, data), Yardstick(), listener.get().say
    tried: list[Attempt] = []
    spent: list[float] = []
    while (trial := next_trial(space, results := [attempts.result(job, each) for each in tried])) is not None:
        if spent:
            least, most = remaining(space, results)
            mean = fmean(spent)
            more, seconds = dict.fromkeys((least, most)), dict.fromkeys(f"{mean * n:.0f}" for n in (least, most))
            say(f"{len(tried)} tried, {' to '.join(map(str, more))} to come: about {' to '.join(seconds)} s")
        size, began = job.ledger.size, time.monotonic()
        tried.append(attempt(job, twin, data, trial, yardstick))
        if job.ledger.size > size:  # else it was made before an interruption, and took no time
            spent.append(time.monotonic() - began)
    say(f"every candidate, and why: {picture(job, tried)}")
    return tuple(tried)


def data_page(job: Job) -> Path:
    """Lay the page about the data beside the search's, and say where."""
    path = job.reports / f"{job.run}-data.html"
    admitted = lifecycle.done(job, "admit")
    assert admitted is not None  # just now, or before an interruption
    with files.appearing(path, replace=True) as partial:
        partial.write_bytes(job.artifacts.get(admitted.refs["page"]))
    return path


def picture(job: Job, tried: list[Attempt]) -> Path:
    """Draw every candidate, passed or not, and say where."""
    path = job.reports / f"{job.run}.html"
    with files.appearing(path, replace=True) as partial:
        partial.write_bytes(searched.page(job, tried))
    return path


@task(cache_policy=NO_CACHE, task_run_name="attempt-{trial.recipe}-{trial.ratio}")
def attempt(job: Job, twin: Twin, data: Evidence, trial: Trial, yardstick: Yardstick) -> Attempt:
    tried = attempts.attempt(job, twin, data, trial, yardstick)
    if tried.verdict is None or tried.evidence is None:
        listener.get().say(f"{trial.words}: no network; {tried.reason}")
    else:
        tell(f"{trial.words}, {searched.right(tried.evidence)}", tried.verdict)
    if (doubt := searched.doubt(tried)) is not None:
        listener.get().say(f"    {doubt}")
    return tried


@task(cache_policy=NO_CACHE)
def judge(job: Job, chosen: Contender, twin: Twin, data: Evidence) -> Verdict:
    evidence, verdict = lifecycle.judge(job, chosen, twin.contender, data)
    tell(f"the candidate, {searched.right(evidence)}", verdict, every=True)
    return verdict


@task(cache_policy=NO_CACHE)
def propose_twin(job: Job, twin: Twin, data: Evidence) -> tuple[int, ...]:
    """A model's first release is its dense twin: what a pruned version can fall back to."""
    evidence, verdict = lifecycle.judge(job, twin.contender, twin.contender, data)
    tell(f"the dense twin, {searched.right(evidence)}", verdict)
    return (_number(lifecycle.propose(job, twin.contender, verdict)),) if verdict.passed else ()


@task(cache_policy=NO_CACHE)
def propose(job: Job, chosen: Contender, verdict: Verdict) -> tuple[int, ...]:
    return (_number(lifecycle.propose(job, chosen, verdict)),)


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
    # What was let go at a failure has no evidence of the rest, which is then no news.
    failed = [finding for finding in verdict.objections if finding.outcome is not FindingOutcome.NO_EVIDENCE]
    for finding in verdict.findings if every else failed or verdict.objections:
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


def main(manifest: Path, settings: Settings, *, key: Path, release: bool = True, machine: bool = False) -> int:
    """`pruneguard run` and, without `release`, `pruneguard search`: 0 when a candidate passed, 1 when none did.

    `machine` prints one JSON document at the end, and the story to the standard error.
    """
    home.open_ledger(settings, verify=True).close()  # an edited ledger stops here, before any work
    document = load_manifest(manifest)  # so do most mistakes: the engine takes seconds to start
    load_policy(document.policy, relative_to=document.path.parent)
    load(document.workload_file, document.workload_class)
    with Terminal(stderr=machine) as terminal, engine():
        terminal.progress("starting the flow engine, loading the workload")
        outcome = (retrain_and_prune if release else search_only)(str(manifest), str(key))
        terminal.step("outcome")
        for tried in outcome.attempts:
            terminal.say(searched.summary(outcome.job, tried, chosen=tried is outcome.chosen))
        for number in outcome.proposed:
            pruned = outcome.passed and number == outcome.proposed[-1]
            what = "the pruned candidate" if pruned else "the dense twin, to fall back on"
            terminal.say(f"next: pruneguard approve {outcome.job.manifest.model} {number} --reason ...   ({what})")
        good = outcome.passed if release else outcome.chosen is not None
        if not good:
            terminal.say(f"no pruned version {'is proposed' if release else 'passes'}; {remedies(outcome)}")
        elif not release:
            terminal.say(f"next: pruneguard run {manifest}   (opens the release split, and proposes what passes)")
    if machine:
        print(json.dumps(searched.outline(outcome.job, outcome.attempts), indent=2))
    return 0 if good else 1


def remedies(outcome: Outcome) -> str:
    """What the policy suggests to whoever has no candidate: the objections to the one that came nearest."""
    if outcome.chosen is not None:
        return "the release split refused it, or its twin; the objections stand above"
    if (rule := stopping.certain_failure(outcome.job.policy, outcome.data.measurements)) is not None:
        remedy = next(each.remedy for each in outcome.job.policy.rules if each.name == rule)
        return f"the data fail {rule!r}, which no network mends. {remedy}"
    tried = attempts.nearest(outcome.job, outcome.attempts)
    if tried is None or tried.verdict is None:
        return f"the recipes made none: {tried.reason}" if tried else "nothing was tried"
    failed = [finding for finding in tried.verdict.objections if finding.outcome is not FindingOutcome.NO_EVIDENCE]
    if not failed:
        return "the objections stand above; how somebody else takes one on: pruneguard waive --help"
    remedies = " ".join(dict.fromkeys(finding.remedy for finding in failed))
    return f"{tried.trial.words} came nearest, and {failed[0].rule!r} stopped it. {remedies}"
