"""Our side: what `pruneguard search` does, on a dense network that is there already and in a ledger in memory."""

import time
from dataclasses import replace
from tempfile import TemporaryDirectory

from benchmarks.contest.dense import Dense
from benchmarks.contest.measuring import Point, measured
from benchmarks.contest.verdicts import Ours
from policies.document import load_policy
from pruneguard import lifecycle, releases, testing
from pruneguard.artifacts import Artifacts
from pruneguard.attempts import Attempt, attempt, choose, result, space
from pruneguard.evaluation.contender import Contender
from pruneguard.evaluation.yardstick import Yardstick
from pruneguard.ledger.events import Event
from pruneguard.lifecycle import Job, Twin
from pruneguard.manifest import load_manifest
from pruneguard.pruning import weights
from pruneguard.search import next_trial

QUICK_EVALUATIONS = 2
ASKED = ("data.", "quality.paired", "efficiency.")
"""What a candidate is asked here: the peers' are asked no more."""


def search(dense: Dense, *, quick: bool) -> Ours:
    """The example's own manifest and policy, but for what is the contest's and the same for every side: the budget, and
    what is asked of a candidate, which is accuracy, latency and size.

    Everything is decided on the gate rows; what is returned is measured on the release rows afterwards.
    """
    with TemporaryDirectory() as folder:
        job = _job(dense, Artifacts(folder), quick=quick)
        twin = _twin(job, dense)
        began = time.perf_counter()
        attempts = _attempts(job, twin)
        seconds = time.perf_counter() - began
        chosen = choose(job, attempts)
        points = {id(tried): _point(tried, dense) for tried in attempts if tried.candidate is not None}
    return Ours(
        points=tuple(points.values()),
        passing=tuple(points[id(tried)] for tried in attempts if tried.passed),
        returned=None if chosen is None else points[id(chosen)],
        evaluations=sum(result(job, tried).full for tried in attempts),
        seconds=seconds,
    )


def _job(dense: Dense, artifacts: Artifacts, *, quick: bool) -> Job:
    file = dense.task.file.with_name("manifest.yaml")
    manifest = replace(
        load_manifest(file),
        workload_class=dense.task.kind,
        seed=dense.seed,
        train_epochs=dense.task.train_epochs,
        finetune_epochs=dense.epochs,
    )
    if quick:
        manifest = replace(manifest, evaluations_max=QUICK_EVALUATIONS)
    policy = load_policy(manifest.policy, relative_to=file.parent)
    policy = replace(policy, rules=tuple(rule for rule in policy.rules if rule.measurement.startswith(ASKED)))
    ledger, people = testing.memory_ledger(), testing.people()
    testing.register(ledger)
    releases.adopt(ledger, artifacts, policy=policy, signer=people["grace"])
    return lifecycle.begin(
        manifest, policy, data_dir=dense.directory, ledger=ledger, artifacts=artifacts, signer=people["ada"]
    )


def _twin(job: Job, dense: Dense) -> Twin:
    refs = {
        "model": job.artifacts.put(dense.onnx),
        "weights": job.artifacts.put(weights.dump(dense.model)),
        "data": job.snapshot.digest,
    }
    lifecycle.admit(job)
    told = {"run": job.run, "model": job.manifest.model}
    job.ledger.record(Event("model.trained", job.signer.actor, told, refs=refs, causation=f"{job.run}/train"))
    return Twin(Contender(refs["model"], dense.onnx, dense.model), early=None)


def _attempts(job: Job, twin: Twin) -> list[Attempt]:
    data, yardstick = lifecycle.admit(job), Yardstick()
    open_to_it = space(job, twin, data)
    attempts: list[Attempt] = []
    while (trial := next_trial(open_to_it, [result(job, tried) for tried in attempts])) is not None:
        attempts.append(attempt(job, twin, data, trial, yardstick))
    return attempts


def _point(tried: Attempt, dense: Dense) -> Point:
    assert tried.candidate is not None
    contender = tried.candidate
    return measured(
        contender.model,
        dense,
        side="pruneguard",
        ratio=tried.trial.ratio,
        onnx=contender.onnx,
        stored_bytes=contender.stored_bytes,
    )
