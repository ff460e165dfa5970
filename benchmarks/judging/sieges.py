"""Attacks: ours against ART's and foolbox's, on one network and the same rows, with the same ball and as many steps."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from benchmarks.peers import environments
from benchmarks.peers.peer import Unable
from pruneguard.drill.bench import Bench
from pruneguard.evaluation.domain import Domain
from pruneguard.evaluation.security.attacks import EPSILON, STEPS, fgsm, pgd
from pruneguard.evaluation.security.attacks.whitebox import Attack
from pruneguard.evaluation.sessions import Session, predictions
from pruneguard.pruning import weights
from pruneguard.workload import Floats, Split


@dataclass(frozen=True, slots=True)
class Library:
    """A peer, what its environment holds, and the module that runs in it."""

    name: str
    packages: Sequence[str]

    @property
    def module(self) -> str:
        return f"benchmarks.peers.{self.name}_child"


LIBRARIES = (
    Library("art", ("adversarial-robustness-toolbox==1.20.1", "packaging")),  # which it imports, and does not ask for
    Library("foolbox", ("foolbox==3.3.4",)),
)


@dataclass(frozen=True, slots=True)
class Fallen:
    """One attack by one library: the share of the rows that the network still gets right, ours beside it.

    `reason` is why there is none, where there is none; then `theirs` is 1.
    """

    library: str
    attack: str
    ours: float
    theirs: float
    reason: str = ""

    @property
    def gap_points(self) -> float:
        """Above zero theirs is the stronger attack."""
        return 100 * (self.ours - self.theirs)


def besieged(bench: Bench, *, rows: int) -> Iterator[Fallen]:
    """The drill's twin, on rows of its gate split."""
    split = bench.snapshot.gate.taken(np.arange(rows))
    domain, session = Domain.of(bench.snapshot), Session(bench.twin.onnx)

    def own(attack: Attack) -> float:
        model = bench.twin.model
        return _standing(
            session, attack(model, split.x, split.y, domain, epsilon=EPSILON, steps=STEPS, seed=bench.seed), split
        )

    ours = {"fgsm": own(fgsm), "pgd": own(pgd)}
    for library in LIBRARIES:
        try:
            attacked = _attacked(library, bench, split)
        except Unable as error:
            yield from (Fallen(library.name, name, own, 1.0, str(error)) for name, own in ours.items())
        else:
            yield from (
                Fallen(library.name, name, ours[name], _standing(session, attacked[name], split)) for name in ours
            )


def _standing(session: Session, attacked: Floats, split: Split) -> float:
    return float((predictions(session.logits(attacked)) == split.y).mean())


def _attacked(library: Library, bench: Bench, split: Split) -> Mapping[str, Floats]:
    torch = version("torch").partition("+")[0]
    others = [f"{name}=={version(name)}" for name in ("numpy", "safetensors")]
    interpreter = environments.python(library.name, [*library.packages, f"torch=={torch}", *others])
    with tempfile.TemporaryDirectory(prefix=f"pruneguard-{library.name}-") as name:
        folder = Path(name)
        np.savez(folder / "rows.npz", x=split.x, y=split.y)
        (folder / "network.safetensors").write_bytes(weights.dump(bench.twin.model))
        (folder / "asked.json").write_text(
            json.dumps({"epsilon": EPSILON, "steps": STEPS, "seed": bench.seed, "classes": bench.snapshot.classes})
        )
        environments.call(interpreter, library.module, [name], environment={})
        made = np.load(folder / "attacked.npz")
        return {attack: made[attack].astype(np.float32) for attack in ("fgsm", "pgd")}
