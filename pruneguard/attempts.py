"""The candidates that a search tries: what may be tried, how one is made and judged, and which one is taken.

1. space    every recipe at every ratio that makes another network
2. attempt  one candidate: made by its recipe, exported, measured on the gate split, judged
3. result   what the search is told of it; the search (`pruneguard.search`) says which is next
4. choose   the best that passed, and is likely to pass again on rows that nobody has seen

Like the other steps of a run (`pruneguard.lifecycle`) an attempt is recorded once, whether it made a network or not.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from torch import nn

from pruneguard import canonical, pruning, search
from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.correctness import crossing
from pruneguard.evaluation.evaluate import Contender, Yardstick, efficiency, evaluate
from pruneguard.evidence import Estimate, Evidence, Measurement
from pruneguard.gates import stopping
from pruneguard.gates.assurance import Assurance, assurance
from pruneguard.ledger.events import Event
from pruneguard.ledger.shapes import is_words
from pruneguard.lifecycle import Job, Twin, done, judged, record
from pruneguard.manifest import Manifest, Objective
from pruneguard.pruning import deploying, lineage, masks, recomputing, weights
from pruneguard.pruning.recipe import Recipe, TooMildError
from pruneguard.pruning.transfer import Source
from pruneguard.reporting import listener, working
from pruneguard.search import Result, Space, Trial
from pruneguard.verdict import Outcome, Verdict

REASON_MAX = 2000
"""Characters of the reason why there is no network that go on record."""


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
    assurance: Assurance | None = None
    """Where the verdict passed: how likely the release rows say the same."""

    @property
    def passed(self) -> bool:
        """Whether the policy let it pass, and probably will again."""
        return self.assurance is not None and self.assurance.enough


# 1


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


# 2


def attempt(job: Job, twin: Twin, data: Evidence, trial: Trial, yardstick: Yardstick | None = None) -> Attempt:
    """Make one candidate, and judge it on the gate split; it is let go at its first certain failure.

    What follows from its shape alone, its size and its speed, is measured before it is trained. `yardstick` keeps the
    twin's answers from one candidate to the next.
    """
    step = f"attempt/{trial.recipe}/{trial.ratio:g}"
    if (failed := done(job, f"{step}/fail")) is not None:
        return Attempt(trial, reason=failed.data["reason"], too_mild=failed.data["too_mild"])
    try:
        candidate, known = _candidate(job, twin, data, trial, step=f"{step}/prune")
    except InvalidInputError as error:
        reason = "".join(filter(is_words, str(error)))[:REASON_MAX]
        mild = isinstance(error, TooMildError)
        record(job, f"{step}/fail", "attempt.failed", recipe=_said(job, trial), reason=reason, too_mild=mild)
        return Attempt(trial, reason=reason, too_mild=mild)
    evidence, verdict = judged(
        job,
        candidate,
        twin.contender,
        data,
        split="gate",
        step=f"{step}/judge",
        measure=lambda: known or _searching(job, candidate, twin, data, trial, yardstick),
    )
    rows = len(job.snapshot.release) / len(job.snapshot.gate)
    again = {name: m for name, m in evidence.measurements.items() if not name.startswith(f"{crossing.NAME}.")}
    likely = assurance(job.policy, again, rows=rows) if verdict.passed else None
    return Attempt(trial, candidate, evidence, verdict, assurance=likely)


# 3


def result(job: Job, tried: Attempt) -> Result:
    """What the search is told of an attempt."""
    if tried.verdict is None or tried.evidence is None:
        return Result(tried.trial, None, passed=False, full=False, stopped_by=tried.reason, too_mild=tried.too_mild)
    measured = next(filter(None, map(tried.evidence.get, job.manifest.objective.measurements)), None)
    objected = next((f.rule for f in tried.verdict.objections if f.outcome is not Outcome.NO_EVIDENCE), None)
    if tried.assurance is not None and not tried.assurance.enough:
        objected = tried.assurance.rule
    return Result(
        tried.trial,
        measured.value if isinstance(measured, Estimate) else None,
        passed=tried.passed,
        full="stopped after" not in tried.evidence.context,
        stopped_by=objected,
        too_mild=objected is not None and stopping.wants_more(job.policy, objected),
    )


def _searching(
    job: Job, candidate: Contender, twin: Twin, data: Evidence, trial: Trial, yardstick: Yardstick | None
) -> Evidence:
    recipe = _recipe(job, trial)
    return evaluate(
        candidate,
        twin.contender,
        job.snapshot,
        split="gate",
        seed=job.manifest.seed,
        wanted=_wanted(job),
        all_else=False,
        stop=_hopeless(job, data),
        yardstick=yardstick,
        crossed=job.crossing.of_candidate(recipe, ratio=trial.ratio, source=_source(job, recipe), told=trial.words),
        watts_per_core=job.watts_per_core,
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
    recipe = _recipe(job, trial)
    if (past := done(job, step)) is not None:
        return _taken_up(job, twin, past)
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
            all_else=False,
            stop=stop,
            watts_per_core=job.watts_per_core,
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
        "unrounded": file.unrounded,
        "evidence": known[0].encode() if known else None,  # it was refused for its shape, and never trained
    }
    refs = {name: job.artifacts.put(content) for name, content in files.items() if content is not None}
    refs |= {"parent": twin.digest, "data": job.snapshot.digest}
    record(job, step, "model.pruned", refs=refs, recipe={**_said(job, trial), **file.told})
    stored = None if made.coded is None else len(made.coded)
    contender = Contender(refs["model"], file.onnx, made.model, stored, file.unrounded)
    return contender, known[0] if known else None


def _recipe(job: Job, trial: Trial) -> Recipe:
    return next(recipe for recipe in job.manifest.recipes if recipe.name == trial.recipe)


def _said(job: Job, trial: Trial) -> dict[str, Any]:
    """A trial as the record tells it."""
    return {"name": trial.recipe, "steps": _recipe(job, trial).words, "ratio": f"{trial.ratio:g}"}


def _taken_up(job: Job, twin: Twin, made: Event) -> tuple[Contender, Evidence | None]:
    """What `_candidate` gave before it was interrupted."""

    def get(name: str) -> bytes | None:
        return job.artifacts.get(made.refs[name]) if name in made.refs else None

    model = pruning.shaped(twin.model, lineage.decode(job.artifacts.get(made.refs["lineage"])))
    weights.load(model, job.artifacts.get(made.refs["weights"]))
    coded, refused = get("coded"), get("evidence")
    onnx = job.artifacts.get(made.refs["model"])
    stored = None if coded is None else len(coded)
    contender = Contender(made.refs["model"], onnx, model.eval(), stored, get("unrounded"))
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


# 4


def choose(job: Job, attempts: Sequence[Attempt]) -> Attempt | None:
    """The best candidate that passed, or None.

    Where none of those that the policy let pass is likely enough to pass again, the likeliest of them.
    """
    found = search.best([result(job, tried) for tried in attempts])
    if found is not None:
        return next(tried for tried in attempts if tried.trial == found.trial)
    doubtful = (tried for tried in attempts if tried.assurance is not None)
    return max(doubtful, key=lambda tried: tried.assurance.chance if tried.assurance else 0.0, default=None)


def nearest(job: Job, attempts: Sequence[Attempt]) -> Attempt | None:
    """The refused candidate that came nearest, for whoever has none that passed."""
    found = search.best_refused([result(job, tried) for tried in attempts])
    return next((tried for tried in attempts if found is not None and tried.trial == found.trial), None)
