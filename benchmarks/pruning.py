"""Pruning: our search against other people's pruning, from the same dense networks, with the same fine-tuning.

Every candidate and every operating point of a peer is measured the same way: its ONNX file in onnxruntime on one
thread, in turns with the dense network's, and its answers to the release rows, which no search has seen.
"""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.contest import drawing, verdicts
from benchmarks.contest.dense import Dense, Task, train
from benchmarks.contest.measuring import Point, latency_ratios, measured
from benchmarks.contest.searching import search
from benchmarks.contest.verdicts import Round, Theirs
from benchmarks.peers.depgraph import TorchPruning
from benchmarks.peers.nncf_masks import Nncf
from benchmarks.peers.peer import Peer, Unable
from benchmarks.peers.torch_masks import TorchGlobal, TorchStructured
from benchmarks.rows import Row
from pruneguard.settings import Settings

TASKS = (
    Task(
        name="fashion-mnist",
        folder="fashion_mnist",
        kind="FashionMnist",
        train_epochs=6,
        finetune_epochs=4,
        margin=0.01,
        seeds=(1, 2),
    ),
    Task(
        name="adult",
        folder="adult",
        kind="Adult",
        train_epochs=10,
        finetune_epochs=4,
        margin=0.01,
        seeds=(1, 2, 3),
    ),
    Task(
        name="vowels-gru",
        folder="japanese_vowels",
        kind="VowelsGru",
        train_epochs=40,
        finetune_epochs=20,
        margin=0.05,
        seeds=(1, 2, 3),
    ),
    Task(
        name="vowels-lstm",
        folder="japanese_vowels",
        kind="VowelsLstm",
        train_epochs=40,
        finetune_epochs=20,
        margin=0.05,
        seeds=(1, 2, 3),
    ),
    Task(
        name="clinc150",
        folder="clinc150",
        kind="Clinc150",
        train_epochs=10,
        finetune_epochs=10,
        margin=0.02,
        seeds=(1,),
    ),
)
SEEDS = tuple(sorted({seed for task in TASKS for seed in task.seeds}))
PEERS: tuple[Peer, ...] = (TorchPruning(), TorchGlobal(), TorchStructured(), Nncf())
PLOTS = Path(__file__).parent / "results"

Reported = Callable[[str, int], Callable[[int], None]]


def run(*, quick: bool, progress: Reported) -> Iterator[Row]:
    """All rows at the end: most of them are about all tasks together."""
    rounds: list[Round] = []
    for task in TASKS:
        workload = task.workload()
        directory = Settings().data_dir.resolve()
        snapshot = workload.data(directory)
        for seed in task.seeds[:1] if quick else task.seeds:
            done = progress(f"{task.name}, seed {seed}", 2 + sum(len(points(peer, quick=quick)) for peer in PEERS))
            dense = train(task, workload, snapshot, directory=directory, seed=seed, quick=quick)
            rounds.append(contest(dense, quick=quick, done=done))
        draw(task, [each for each in rounds if each.task == task.name])
    yield from verdicts.rows(rounds)


def contest(dense: Dense, *, quick: bool, done: Callable[[int], None]) -> Round:
    count = itertools.count(2)
    done(1)
    searched = search(dense, quick=quick)
    done(next(count))
    theirs = tuple(rival(peer, dense, quick=quick, told=lambda: done(next(count))) for peer in PEERS)
    reference = measured(dense.model, dense, side="dense", ratio=0.0, onnx=dense.onnx)
    margin = dense.task.margin
    duels = {}
    for side in theirs:
        best = verdicts.best(side.points, reference, margin=margin)
        if best is not None and searched.returned is not None:
            duels[side.peer] = latency_ratios(searched.returned.onnx, best.onnx, dense)
    return Round(
        task=dense.task.name,
        seed=dense.seed,
        margin=margin,
        dense=reference,
        dense_seconds=dense.seconds,
        ours=searched,
        theirs=theirs,
        duels=duels,
    )


def rival(peer: Peer, dense: Dense, *, quick: bool, told: Callable[[], None]) -> Theirs:
    """A peer's operating points. One that fails is told as such and does not stop the others."""
    made: list[Point] = []
    reasons: list[str] = []
    for ratio in points(peer, quick=quick):
        try:
            model = peer.prune(dense, ratio=ratio)
        except Unable as error:
            reasons.append(str(error))
        else:
            made.append(measured(model, dense, side=peer.name, ratio=ratio))
        told()
    return Theirs(peer=peer.name, points=tuple(made), reasons=tuple(reasons))


def points(peer: Peer, *, quick: bool) -> tuple[float, ...]:
    return peer.ratios[1:2] if quick else peer.ratios


def draw(task: Task, rounds: list[Round]) -> None:
    """`results/pruning-TASK.svg`: a mark for each operating point over the seeds, ours by the order of the trials."""
    marks = [drawing.mark("dense", [1.0], [each.dense.accuracy for each in rounds])]
    sides: dict[tuple[str, float], list[Point]] = {}
    for each in rounds:
        tried = each.ours.returned
        for point in (*(() if tried is None else (tried,)), *(point for side in each.theirs for point in side.points)):
            key = (point.side, 0.0 if point is tried else point.ratio)
            sides.setdefault(key, []).append(point)
    for (side, _), found in sides.items():
        marks.append(drawing.mark(side, [each.latency_ratios[1] for each in found], [each.accuracy for each in found]))
    PLOTS.mkdir(exist_ok=True)
    title = f"{task.name}: {len(rounds)} seeds"
    (PLOTS / f"pruning-{task.name}.svg").write_text(drawing.drawing(title, marks), encoding="utf-8")
