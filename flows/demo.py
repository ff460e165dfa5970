"""The whole lifecycle on data that come inside a wheel, told step by step.

A demo that was interrupted goes on where it stopped: what was recorded is found, and where a release stands is read
from the ledger.
"""

import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from rich.table import Table

from flows.drill import damage_in_memory
from flows.engine import engine
from flows.retrain_and_prune import Outcome, begin, walk
from flows.service import Service
from flows.traffic import Traffic
from monitors.watch import Pace
from policies.document import load_policy
from policies.framework import load_frameworks
from pruneguard import home, lifecycle, releases
from pruneguard.audit import signing
from pruneguard.audit.export import Keys, export
from pruneguard.audit.verify import Report, verify
from pruneguard.cli.terminal import Terminal
from pruneguard.errors import InvalidInputError, UnavailableError
from pruneguard.evidence import Estimate
from pruneguard.ledger.keys import load_log_key, load_signer
from pruneguard.ledger.state import Model, Release, Status
from pruneguard.lifecycle import Job
from pruneguard.manifest import load_manifest
from pruneguard.reporting import listener, working
from pruneguard.settings import Settings

MANIFEST = Path(__file__).parents[1] / "examples" / "digits" / "manifest.yaml"
REQUESTS_MAX = 30_000
DAMAGE = 0.25
"""Share of the filters that the drill silences: enough to cost several points, too little to look broken."""
OWN = {"ledger_url": "", "artifacts_url": "", "training_threads": 1}
"""A ledger beside the user's own, and the same weights however many cores there are."""
PACE = Pace(window_rows=500, window_least_s=0.0, drift_every=2, drift_s=0.0)
"""A drift report within the few requests of a demo."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the demo's last table."""

    step: str
    ok: bool
    result: str


def main(settings: Settings, *, serve: bool) -> int:
    """`pruneguard demo`: 0 when every step did what it should."""
    own = settings.model_copy(update=OWN | {"home": settings.home / "demo"})
    with Terminal() as terminal, engine():
        prepare(own)
        with Service(own, dashboard=serve, pace=PACE) as service:
            terminal.progress("starting the flow engine, loading the workload")
            checks = demo(own, service)
            terminal.console.print()
            terminal.console.print(table(checks))
            ok = all(check.ok for check in checks)
            if serve:
                terminal.step("still running, until Ctrl-C")
                for line in service.addresses():
                    terminal.say(line)
                service.wait()
    return 0 if ok else 1


def prepare(settings: Settings) -> None:
    """A ledger with four people in it, and the demo's policy adopted by the one who may."""
    ledger = home.open_ledger(settings, verify=True) if home.exists(settings) else None
    if ledger is None or not set(home.TEAM) <= ledger.state().people.keys():
        ledger = home.create(settings, admin="root", team=True)
    manifest = load_manifest(MANIFEST)
    policy = load_policy(manifest.policy, relative_to=MANIFEST.parent)
    if policy.digest not in ledger.state().policies:
        signer = load_signer(settings.keys_dir / "grace.key")
        releases.adopt(ledger, home.artifacts(settings), policy=policy, signer=signer)


@flow(name="demo", validate_parameters=False)
def demo(settings: Settings, service: Service) -> list[Check]:
    """Admit, train, search, judge, release, lose it, roll back, and prove all of it to somebody else."""
    report = listener.get()
    job = begin(MANIFEST, settings, load_signer(settings.keys_dir / "ada.key"))
    outcome = walk(job)
    checks = made(outcome)
    if outcome.passed:
        number = outcome.proposed[-1]
        traffic = Traffic(service.url, job.manifest.model, job.snapshot.release, seed=job.manifest.seed)
        report.step("5 release: approval by somebody else, canary, live")
        checks.append(approve(job, outcome.proposed, settings))
        checks.append(go_live(job, number, traffic, service))
        report.step("6 decay: the live copy goes bad in memory; no file, no error, no label says so")
        checks.append(decay(job, number, traffic, service))
        # The report on drift is drawn by another process; a demo that was interrupted has none to wait for.
        with suppress(UnavailableError), working("waiting for the report on drift"):
            service.wait_for(lambda: bool(model(job).drift), "the report on drift")
        lifecycle.finish(job, "released, and rolled back in a drill")
        report.step("7 export: a bundle for an outsider, and what one changed byte does to it")
        checks.append(audit(job, settings))
    return checks


def made(outcome: Outcome) -> list[Check]:
    """Steps 1 to 4, as the table tells them."""
    data = outcome.data
    failed, leaked = (getattr(data.get(name), "value", 1.0) for name in ("data.expectations_failed", "data.leakage"))
    measured = (tried.evidence.get("quality.twin_accuracy") for tried in outcome.attempts if tried.evidence)
    twin = next((accuracy.value for accuracy in measured if isinstance(accuracy, Estimate)), 0.0)
    rejected = [tried for tried in outcome.attempts if not tried.passed]
    chosen = outcome.chosen.trial.words if outcome.chosen else "none"
    return [
        Check("1 admit", failed == leaked == 0, f"{failed:g} expectations failed, {leaked:.1%} leaked"),
        Check("2 train", twin >= 0.98, f"dense twin {twin:.1%} on the gate split, 98 % or more expected"),
        Check(
            "3 search",
            bool(rejected) and outcome.chosen is not None,
            f"{len(outcome.attempts)} candidates, {len(rejected)} rejected; smallest that passes: {chosen}",
        ),
        Check("4 judge", outcome.passed, verdict_line(outcome)),
    ]


def verdict_line(outcome: Outcome) -> str:
    if outcome.verdict is None:
        return "the dense twin itself was refused" if outcome.chosen else "no candidate passed the search"
    kept = len(outcome.verdict.findings) - len(outcome.verdict.objections)
    return f"{kept} of {len(outcome.verdict.findings)} rules hold on the release split"


@task(cache_policy=NO_CACHE)
def approve(job: Job, numbers: tuple[int, ...], settings: Settings) -> Check:
    """The author may not; somebody else does."""
    author, approver, refusals = job.signer, load_signer(settings.keys_dir / "grace.key"), 0
    for number in numbers:
        if standing(job, number).status is not Status.PROPOSED:
            continue
        try:
            releases.approve(job.ledger, model=job.manifest.model, number=number, reason="mine", signer=author)
        except InvalidInputError as refusal:
            refusals += 1
            listener.get().say(f"{author.actor} tries to approve version {number}: {refusal}")
        releases.approve(
            job.ledger, model=job.manifest.model, number=number, reason="read the findings", signer=approver
        )
        listener.get().say(f"{approver.actor} approved version {number} with her own key")
    by = [actor for number in numbers for actor in standing(job, number).approvers]
    ok = author.actor not in by and len(by) >= len(numbers)
    return Check("5 approve", ok, f"approved by {', '.join(sorted(set(by)))}; the author's own {refusals} refused")


@task(cache_policy=NO_CACHE)
def go_live(job: Job, number: int, traffic: Traffic, service: Service) -> Check:
    """Real requests until the canary has answered enough of them and the release is live."""
    if standing(job, number).was_live:
        return Check("5 release", ok=True, result=f"version {number} went live before the interruption")
    service.wait_for(lambda: model(job).live is not None, "a first version to be live")
    service.wait_for(service.ready, "the gateway to be ready")
    traffic.until(
        lambda: standing(job, number).status not in (Status.APPROVED, Status.CANARY),
        requests_max=REQUESTS_MAX,
        progress=listener.get().progress("replaying requests over HTTP: canary, then live"),
    )
    canary = traffic.versions()[number]
    status = standing(job, number).status  # a canary that was rolled back has left the canary too
    text = (
        f"{len(traffic.replies)} requests, {canary} to the canary, {traffic.failed} failed; version {number} {status}"
    )
    listener.get().say(text)
    return Check("5 release", status is Status.LIVE and traffic.failed == 0, text)


@task(cache_policy=NO_CACHE)
def decay(job: Job, number: int, traffic: Traffic, service: Service) -> Check:
    """Damage what answers, and see who notices, when, and what follows."""
    release = standing(job, number)
    if release.status is not Status.LIVE:
        drilled = release.was_live and any(alarm.number == number for alarm in model(job).alarms)
        return Check("6 decay", drilled, f"version {number} was {release.status} before the drill of this call")
    say = listener.get().say
    traffic.until(lambda: False, requests_max=400, progress=listener.get().progress("healthy traffic"))
    since = len(traffic.replies)
    artifact, seed = job.artifacts.get(release.digest), job.manifest.seed
    damage_in_memory(service.gateway, artifact, model=release.model, number=number, share=DAMAGE, seed=seed)
    traffic.until(
        lambda: answered_by_old(traffic, number, since) is not None,
        requests_max=REQUESTS_MAX,
        progress=listener.get().progress("traffic over the damaged version"),
    )
    alarm = next((a for a in model(job).alarms if a.number == number), None)
    back = answered_by_old(traffic, number, since)
    if alarm is None or back is None:
        return Check("6 decay", ok=False, result=f"no alarm and rollback in {len(traffic.replies) - since} requests")
    raised = datetime.fromisoformat(alarm.time).timestamp()
    until_alarm = sum(reply.time <= raised for reply in traffic.replies[since:])
    before, after = traffic.accuracy(number, until=since), traffic.accuracy(number, since=since)
    failed = traffic.failed
    say(f"accuracy of version {number}: {before:.1f} %, then {after:.1f} %; nobody had a label to see it")
    say(f"{alarm.detector} raised the alarm after {until_alarm} requests, cause: {alarm.cause}")
    say(f"the version before answered {back - raised:.2f} s after the alarm; failed requests: {failed}")
    result = f"alarm after {until_alarm} requests, old version back in {back - raised:.2f} s, {failed} failed"
    return Check("6 decay", standing(job, number).status is Status.ROLLED_BACK and failed == 0, result)


@task(cache_policy=NO_CACHE)
def audit(job: Job, settings: Settings) -> Check:
    """Export the story, check it as an outsider would, then change one byte of a copy."""
    say = listener.get().say
    bundle = settings.home / f"{job.run}-audit.tar"
    export(
        job.ledger,
        job.artifacts,
        keys=Keys(load_log_key(settings.keys_dir / "log.key"), signing.key_at(settings.keys_dir / "model-signing.pem")),
        model=job.manifest.model,
        out=bundle,
        frameworks=load_frameworks(),
    )
    report = verify(bundle)
    say(f"{bundle}: {bundle.stat().st_size:,} bytes, {summary(report)}")
    copy = bundle.with_suffix(".tampered.tar")
    shutil.copyfile(bundle, copy)
    place = flip_byte(copy)
    tampered = verify(copy)
    say(f"a copy with byte {place} changed: {summary(tampered)}")
    result = f"verified ({report.guarantee}); one byte changed: refused"
    return Check("7 export", report.ok and not tampered.ok, result if report.ok else summary(report))


def flip_byte(path: Path) -> int:
    """Change one bit in the middle of a file and say where."""
    content = bytearray(path.read_bytes())
    place = len(content) // 2
    content[place] ^= 1
    path.write_bytes(content)
    return place


def summary(report: Report) -> str:
    if report.ok:
        return f"verified, {len(report.checks)} checks, guarantee: {report.guarantee}"
    failed = next(check for check in report.checks if not check.ok)
    return f"NOT verified: {failed.level}, {failed.place}: {failed.detail or failed.what}"


def answered_by_old(traffic: Traffic, number: int, since: int) -> float | None:
    """When another version than `number` took over for good, as far as the replies tell; None while it has not."""
    replies = traffic.replies[since:]
    last = max((index for index, reply in enumerate(replies) if reply.version == number), default=-1)
    after = [reply.time for reply in replies[last + 1 :] if reply.version is not None]
    return after[0] if len(after) >= 50 else None


def model(job: Job) -> Model:
    return releases.find_model(job.ledger.state(), job.manifest.model)


def standing(job: Job, number: int) -> Release:
    return releases.find_release(job.ledger.state(), model=job.manifest.model, number=number)


def table(checks: list[Check]) -> Table:
    grid = Table("step", "", "result", title="outcome", title_justify="left")
    for check in checks:
        grid.add_row(check.step, "ok" if check.ok else "FAILED", check.result)
    return grid
