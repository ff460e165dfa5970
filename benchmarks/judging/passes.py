"""What the evidence of one candidate costs, in passes of the twin over the same rows."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.contest.dense import EXAMPLES
from pruneguard import canonical
from pruneguard.evaluation.contender import Contender
from pruneguard.evaluation.evaluate import evaluate
from pruneguard.evaluation.security import attacks
from pruneguard.evaluation.sessions import Session
from pruneguard.evidence import Measurement
from pruneguard.pruning.export import to_onnx
from pruneguard.settings import Settings
from pruneguard.workload import Snapshot, load

ATTACKS = frozenset(
    {f"robustness.{name}" for name in attacks.ATTACKS}
    | {f"robustness.{name}_sweep" for name in attacks.ATTACKS}
    | {"robustness.square", "robustness.transfer", "robustness.masking"}
)

_WARM_UP = 256


@dataclass(frozen=True, slots=True)
class Bill:
    """Seconds by family, in the order in which they were measured; and of one pass of the twin over those rows."""

    families: Mapping[str, float]
    one_pass: float
    rows: int

    def passes(self, *, attacks: bool) -> float:
        return sum(s for name, s in self.families.items() if (name in ATTACKS) is attacks) / self.one_pass

    def __str__(self) -> str:
        told = sorted(self.families.items(), key=lambda each: -each[1])
        return ", ".join(f"{name} {seconds / self.one_pass:.1f}" for name, seconds in told)


def bill(*, rows: int, seed: int) -> Bill:
    """Everything that is measured when nobody asks for more, of an untrained network: answers do not change the work.

    The network is the example's for Fashion-MNIST, the candidate the same with other weights.
    """
    snapshot = _snapshot(rows)
    twin, candidate = (_contender(seed + each, snapshot) for each in (0, 1))
    session = Session(twin.onnx)
    session.logits(snapshot.gate.x[:_WARM_UP])
    one_pass = min(_timed(session, snapshot) for _ in range(3))
    stamps: list[tuple[str, float]] = []
    known: set[str] = set()
    start = time.perf_counter()

    def measured(so_far: Mapping[str, Measurement]) -> bool:
        nonlocal start
        stamps.append((_family(so_far.keys() - known), time.perf_counter() - start))
        known.update(so_far)
        start = time.perf_counter()
        return False

    evaluate(candidate, twin, snapshot, split="gate", seed=seed, stop=measured)
    families: dict[str, float] = {}
    for name, seconds in stamps:
        families[name] = families.get(name, 0.0) + seconds
    return Bill(families, one_pass, len(snapshot.gate))


def _snapshot(rows: int) -> Snapshot:
    workload = load(EXAMPLES / "fashion_mnist" / "workload.py", "FashionMnist")
    whole = workload.data(Path(Settings().data_dir).resolve())
    return Snapshot(
        whole.train.taken(np.arange(min(rows, len(whole.train)))),
        whole.gate.taken(np.arange(min(rows, len(whole.gate)))),
        whole.release.taken(np.arange(min(rows, len(whole.release)))),
        whole.classes,
        whole.bounds,
        whole.outliers,
    )


def _contender(seed: int, snapshot: Snapshot) -> Contender:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: nn.Module = load(EXAMPLES / "fashion_mnist" / "workload.py", "FashionMnist").build().eval()
    onnx = to_onnx(model, snapshot.train.x[:4], classes=snapshot.classes)
    return Contender(canonical.digest(onnx), onnx, model)


def _timed(session: Session, snapshot: Snapshot) -> float:
    start = time.perf_counter()
    session.logits(snapshot.gate.x)
    return time.perf_counter() - start


def _family(names: set[str]) -> str:
    """What new measurements have in common: `robustness.noise`, or `quality`."""
    parts = [name.split(".") for name in names]
    first = parts[0][0] if parts else "nothing"
    deep = first == "robustness"
    return ".".join(parts[0][:2]) if deep else first
