"""The steps from a manifest to a proposed release, each recorded once.

1. begin    refuse what cannot work; start the run, or take up the one that was interrupted; try the gates
2. admit    what the data are: digest, expectations, leakage, imbalance
3. train    the dense twin
4. attempt  one candidate: made by a recipe, exported, measured on the gate split, judged; the search says which
5. choose   the best that passed
6. judge    the final verdict, on the release split, which no search has seen
7. propose  a release that somebody else must approve

A step's event carries the run and the step as its causation id: a run that was killed finds what it did and goes on
with what it did not. No framework here; `flows/` decides when these steps happen.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from pruneguard import canonical, energy, pruning, releases, search
from pruneguard.artifacts import Artifacts
from pruneguard.errors import IntegrityError, InvalidInputError
from pruneguard.evaluation import data_quality
from pruneguard.evaluation.evaluate import Contender, Yardstick, efficiency, evaluate
from pruneguard.evidence import Estimate, Evidence, Measurement
from pruneguard.gates import judge as decide
from pruneguard.gates import stopping
from pruneguard.gates.selftest import SelfTest, self_test
from pruneguard.ledger.events import Event
from pruneguard.ledger.keys import Signer
from pruneguard.ledger.ledger import Ledger, Recorded
from pruneguard.manifest import Manifest, Objective
from pruneguard.policy import Policy
from pruneguard.pruning import deploying, lineage, masks, matching, recomputing, weights
from pruneguard.pruning.recipe import Recipe, TooMildError
from pruneguard.pruning.shop import Known
from pruneguard.pruning.transfer import Source
from pruneguard.reporting import listener, working
from pruneguard.search import Result, Space, Trial
from pruneguard.verdict import Outcome, Verdict
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


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """One candidate that the search tried: measured and judged, or the reason why the recipe made no network."""

    trial: Trial
    candidate: Contender | None = None
    evidence: Evidence | None = None
    verdict: Verdict | None = None
    reason: str | None = None
    too_mild: bool = False
    """Whether there is no network because so little was asked to go that nothing could."""

    @property
    def passed(self) -> bool:
        return self.verdict is not None and self.verdict.passed


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
    return Job(name, manifest, policy, workload, snapshot, ledger, artifacts, signer, reports, watts_per_core, began)


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


def train(job: Job) -> Twin:
    """Train the dense twin and export the artefact that stands for it."""
    if (done := _done(job, "train")) is not None:
        return trained(job.workload, job.artifacts, done)
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
    _record(job, "train", "model.trained", refs=refs)
    return Twin(Contender(refs["model"], onnx, model), early[0] if early else None)


def trained(workload: Workload, artifacts: Artifacts, done: Event) -> Twin:
    """The twin that a `model.trained` event speaks of."""
    model = workload.build()
    weights.load(model, artifacts.get(done.refs["weights"]))
    early = artifacts.get(done.refs["early"]) if "early" in done.refs else None
    return Twin(Contender(done.refs["model"], artifacts.get(done.refs["model"]), model.eval()), early)


# 4


def space(job: Job, twin: Twin, data: Evidence) -> Space:
    """What the search may try: every recipe at every ratio that makes another network, or once where none is left open.

    Nothing, where the data fail the policy: no network mends that. How much of the twin a recipe leaves follows from
    shapes, and is known before; where sparsity is the objective, the search is told.
    """
    manifest = job.manifest
    levels: dict[str, tuple[float, ...]] = {}
    known: dict[Trial, float] = {}
    if stopping.certain_failure(job.policy, data.measurements) is None:
        with working("looking at what can leave"):
            for recipe in manifest.recipes:
                left = _left(job, twin, recipe)
                levels[recipe.name] = tuple(left) or _blind(manifest, recipe)
                if recipe.exact:
                    known |= {Trial(recipe.name, ratio): share for ratio, share in left.items()}
    return Space(
        levels,
        evaluations_max=manifest.evaluations_max,
        predicted=known if manifest.objective is Objective.SPARSITY else {},
    )


def _blind(manifest: Manifest, recipe: Recipe) -> tuple[float, ...]:
    """The ratios of a recipe of which shapes say nothing; one is enough to hear why where they say that none can be."""
    if not recipe.searched:
        return (0.0,)
    return manifest.ratios[-1:] if recipe.layerwise else manifest.ratios


def _left(job: Job, twin: Twin, recipe: Recipe) -> dict[float, float]:
    """What each ratio leaves of the twin, but for those at which nothing can leave, or only what a milder one takes."""
    left: dict[float, float] = {}
    for ratio in job.manifest.ratios if recipe.searched and recipe.layerwise else ():
        with suppress(InvalidInputError):  # where no ratio is left, the first attempt says why
            share = pruning.predicted(
                twin.model,
                job.snapshot.train.x[:2],
                recipe,
                ratio=ratio,
                round_to=job.manifest.round_to,
                known=twin.known,
            )
            if share not in left.values():
                left[ratio] = share
    return left


def attempt(job: Job, twin: Twin, data: Evidence, trial: Trial, yardstick: Yardstick | None = None) -> Attempt:
    """Make one candidate, and judge it on the gate split; it is let go at its first certain failure.

    What follows from its shape alone, its size and its speed, is measured before it is trained. `yardstick` keeps the
    twin's answers from one candidate to the next.
    """
    step = f"attempt/{trial.recipe}/{trial.ratio:g}"
    try:
        candidate, known = _candidate(job, twin, data, trial, step=f"{step}/prune")
    except InvalidInputError as error:
        return Attempt(trial, reason=str(error), too_mild=isinstance(error, TooMildError))
    evidence, verdict = _judge(
        job,
        candidate,
        twin.contender,
        data,
        split="gate",
        step=f"{step}/judge",
        measure=lambda: known or _searching(job, candidate, twin, data, trial, yardstick),
    )
    return Attempt(trial, candidate, evidence, verdict)


def result(job: Job, tried: Attempt) -> Result:
    """What the search is told of an attempt."""
    if tried.verdict is None or tried.evidence is None:
        return Result(tried.trial, None, passed=False, full=False, stopped_by=tried.reason, too_mild=tried.too_mild)
    measured = next(filter(None, map(tried.evidence.get, job.manifest.objective.measurements)), None)
    objected = next((f.rule for f in tried.verdict.objections if f.outcome is not Outcome.NO_EVIDENCE), None)
    return Result(
        tried.trial,
        measured.value if isinstance(measured, Estimate) else None,
        passed=tried.passed,
        full="stopped" not in tried.evidence.context.get("left out", ""),
        stopped_by=objected,
        too_mild=objected is not None and stopping.wants_more(job.policy, objected),
    )


def _searching(
    job: Job, candidate: Contender, twin: Twin, data: Evidence, trial: Trial, yardstick: Yardstick | None
) -> Evidence:
    return evaluate(
        candidate,
        twin.contender,
        job.snapshot,
        split="gate",
        seed=job.manifest.seed,
        wanted=_wanted(job),
        stop=_hopeless(job, data),
        yardstick=yardstick,
        progress=listener.get().progress(f"{trial.words}: measuring on the gate split"),
    )


def _wanted(job: Job) -> frozenset[str]:
    return stopping.wanted(job.policy) | set(job.manifest.objective.measurements)


def _hopeless(job: Job, data: Evidence) -> Callable[[Mapping[str, Measurement]], bool]:
    """Whether nothing that could still be measured would let a candidate pass."""
    return lambda found: stopping.certain_failure(job.policy, {**data.measurements, **found}) is not None


def _candidate(job: Job, twin: Twin, data: Evidence, trial: Trial, *, step: str) -> tuple[Contender, Evidence | None]:
    """The candidate, and the evidence that refused it before it was trained; None where it was worth training."""
    manifest = job.manifest
    recipe = next(recipe for recipe in manifest.recipes if recipe.name == trial.recipe)
    if (done := _done(job, step)) is not None:
        return _taken_up(job, twin, done)
    known: list[Evidence] = []

    def promising(model: nn.Module) -> bool:
        onnx = deploying.artefact(model, recipe, job.snapshot, seed=manifest.seed).onnx
        contender = Contender(canonical.digest(onnx), onnx, model)
        stop = _hopeless(job, data)
        shape = efficiency(
            contender,
            twin.contender,
            job.snapshot,
            split="gate",
            seed=manifest.seed,
            wanted=_wanted(job),
            stop=stop,
        )
        known.extend([shape] if stop(shape.measurements) else [])
        return not known

    bar = listener.get().progress(f"{trial.words}: making it")
    try:
        made = pruning.candidate(
            job.workload,
            twin.model,
            job.snapshot,
            recipe,
            ratio=trial.ratio,
            epochs=manifest.finetune_epochs,
            seed=manifest.seed,
            round_to=manifest.round_to,
            early=twin.early,
            source=_source(job, recipe),
            known=twin.known,
            promising=promising,
            progress=bar,
        )
    finally:
        bar(1, 1)  # where it is refused before its training is done, too
    file = deploying.artefact(made.deployed, recipe, job.snapshot, seed=manifest.seed)
    files = {
        "model": file.onnx,
        "weights": weights.dump(made.model),
        "lineage": made.lineage.encode(),
        "masks": made.masks,
        "start": made.start,
        "coded": made.coded,
        "evidence": known[0].encode() if known else None,  # it was refused for its shape, and never trained
    }
    refs = {name: job.artifacts.put(content) for name, content in files.items() if content is not None}
    refs |= {"parent": twin.digest, "data": job.snapshot.digest}
    said = {"name": recipe.name, "steps": recipe.words, "ratio": f"{trial.ratio:g}", **file.told}
    _record(job, step, "model.pruned", refs=refs, recipe=said)
    stored = None if made.coded is None else len(made.coded)
    return Contender(refs["model"], file.onnx, made.model, stored), known[0] if known else None


def _taken_up(job: Job, twin: Twin, done: Event) -> tuple[Contender, Evidence | None]:
    """What `_candidate` gave before it was interrupted."""

    def get(name: str) -> bytes | None:
        return job.artifacts.get(done.refs[name]) if name in done.refs else None

    model = pruning.shaped(twin.model, lineage.decode(job.artifacts.get(done.refs["lineage"])))
    weights.load(model, job.artifacts.get(done.refs["weights"]))
    coded, refused = get("coded"), get("evidence")
    onnx = job.artifacts.get(done.refs["model"])
    contender = Contender(done.refs["model"], onnx, model.eval(), None if coded is None else len(coded))
    return contender, None if refused is None else Evidence.decode(refused)


def _source(job: Job, recipe: Recipe) -> Source | None:
    """The newest pruned version of another model that was ever live, to transfer from; None where there is none."""
    name = next((str(step.knobs["from"]) for step in recipe.steps if step.method.verb == "transfer"), None)
    model = None if name is None else job.ledger.state().models.get(name)
    if model is None:
        return None
    numbers = {release.digest: number for number, release in model.releases.items() if release.was_live}
    events = (job.ledger.entry(index).event for index in range(job.ledger.size))
    made = [event for event in events if event.type == "model.pruned" and event.refs["model"] in numbers]
    if not made:
        return None
    event = max(made, key=lambda event: numbers[event.refs["model"]])
    cut = lineage.decode(job.artifacts.get(event.refs["lineage"]))
    packed = recomputing.read_masks(cut, job.artifacts.get(event.refs["masks"]) if "masks" in event.refs else None)
    stays = masks.unpack(packed, {name: mask.shape for name, mask in cut.masks.items()})
    return Source(weights.read(job.artifacts.get(event.refs["weights"])), stays)


# 5


def choose(job: Job, attempts: Sequence[Attempt]) -> Attempt | None:
    """The best candidate that the policy let pass, or None."""
    found = search.best([result(job, tried) for tried in attempts])
    return next((tried for tried in attempts if found is not None and tried.trial == found.trial), None)


def nearest(job: Job, attempts: Sequence[Attempt]) -> Attempt | None:
    """The refused candidate that came nearest, for whoever has none that passed."""
    found = search.best_refused([result(job, tried) for tried in attempts])
    return next((tried for tried in attempts if found is not None and tried.trial == found.trial), None)


# 6


def judge(job: Job, candidate: Contender, twin: Contender, data: Evidence) -> tuple[Evidence, Verdict]:
    """The final verdict, on rows that the search never saw; everything is measured that makes sense for the data."""
    bar = listener.get().progress("measuring on the release split")
    return _judge(
        job,
        candidate,
        twin,
        data,
        split="release",
        step=f"judge/{candidate.digest}",
        measure=lambda: evaluate(candidate, twin, job.snapshot, split="release", seed=job.manifest.seed, progress=bar),
    )


def _judge(
    job: Job,
    candidate: Contender,
    twin: Contender,
    data: Evidence,
    *,
    split: str,
    step: str,
    measure: Callable[[], Evidence],
) -> tuple[Evidence, Verdict]:
    if (done := _done(job, step)) is not None:
        evidence = Evidence.decode(job.artifacts.get(done.refs["evidence"][-1]))
        return evidence, Verdict.decode(job.artifacts.get(done.refs["verdict"]))
    evidence = measure()
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
