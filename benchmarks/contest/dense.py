"""What every side starts from: a trained dense network, its rows, and how long anybody may train."""

import time
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from benchmarks.contest.teaching import finetune
from pruneguard.evaluation.sessions import Session
from pruneguard.pruning import making
from pruneguard.pruning.export import to_onnx
from pruneguard.workload import Snapshot, Workload, load

EXAMPLES = Path(__file__).parents[2] / "examples"
EXAMPLE_ROWS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A workload of `examples/`, and the budget of one contest in it.

    `margin` is the loss of accuracy that a candidate may have, that of the example's policy. `seeds` are those of the
    dense networks: cheap tasks can afford more of them.
    """

    name: str
    folder: str
    kind: str
    train_epochs: int
    finetune_epochs: int
    margin: float
    seeds: tuple[int, ...]

    @property
    def file(self) -> Path:
        return EXAMPLES / self.folder / "workload.py"

    def workload(self) -> Workload:
        return load(self.file, self.kind)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Dense:
    """One trained network of a task. `seconds` is what training, exporting and one look at the gate rows took."""

    task: Task
    workload: Workload
    snapshot: Snapshot
    directory: Path
    model: nn.Module
    onnx: bytes
    seed: int
    epochs: int
    """That a side may fine-tune one operating point for."""

    seconds: float

    def finetune(self, model: nn.Module, *, epochs: int) -> None:
        finetune(model, self.model, self.workload, self.snapshot.train, epochs=epochs, seed=self.seed)

    def exported(self, model: nn.Module) -> bytes:
        return to_onnx(model, self.snapshot.train.x[:EXAMPLE_ROWS], classes=self.snapshot.classes)


def train(task: Task, workload: Workload, snapshot: Snapshot, *, directory: Path, seed: int, quick: bool) -> Dense:
    """`directory` is where the snapshot came from.

    `quick` trains and fine-tunes for one epoch: enough to see every call work, too little for a claim."""
    start = time.perf_counter()
    model = making.twin(workload, snapshot, epochs=1 if quick else task.train_epochs, seed=seed)
    onnx = to_onnx(model, snapshot.train.x[:EXAMPLE_ROWS], classes=snapshot.classes)
    Session(onnx).logits(snapshot.gate.x)
    seconds = time.perf_counter() - start
    return Dense(
        task=task,
        workload=workload,
        snapshot=snapshot,
        directory=directory,
        model=model,
        onnx=onnx,
        seed=seed,
        epochs=1 if quick else task.finetune_epochs,
        seconds=seconds,
    )
