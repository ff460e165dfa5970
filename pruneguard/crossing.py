"""Twin and candidate made again for each fold of cross-validation. What its answers are worth says
`evaluation.correctness.crossing`.

The dense networks of the folds are trained once, when the first candidate needs them, and kept for the others.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from torch import nn

from pruneguard import pruning
from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.correctness import crossing
from pruneguard.evaluation.family import Family
from pruneguard.evaluation.marking import Marking, Marks
from pruneguard.evaluation.sessions import Session
from pruneguard.evidence import Measurement
from pruneguard.manifest import Manifest
from pruneguard.pruning import deploying
from pruneguard.pruning.recipe import Recipe
from pruneguard.pruning.shop import Known
from pruneguard.pruning.transfer import Source
from pruneguard.reporting import Progress, hushed, listener
from pruneguard.workload import Snapshot, Workload


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """One fold: its rows are the `release` rows of `snapshot`; `right` says which of them the dense network gets right.

    `early` and `known` are to its network what they are to the run's own twin.
    """

    held: Marks
    snapshot: Snapshot
    seed: int
    model: nn.Module
    early: bytes | None
    right: Marks
    known: Known = field(default_factory=Known)


@dataclass(frozen=True, slots=True, eq=False)
class Crossing:
    """Cross-validation of what a manifest asks for. `folds` are those whose dense network is trained already."""

    workload: Workload
    snapshot: Snapshot
    manifest: Manifest
    folds: list[Fold] = field(default_factory=list)

    def of_twin(self) -> Family:
        """The dense network beside itself: how accurate its training makes it."""
        return self._family(lambda: self._measured("the dense twin", lambda fold, bar: fold.right))

    def of_candidate(self, recipe: Recipe, *, ratio: float, source: Source | None, told: str) -> Family:
        """What a recipe makes at a ratio; `told` names it to whoever listens. `source` is as in `pruning.candidate`.

        Where a fold's rows let it make no network, that is told, and its rows are answered wrongly by the candidate.
        """
        answer = partial(self._answered, recipe, ratio, source)
        return self._family(lambda: self._measured(told, answer))

    def _family(self, measure: Callable[[], dict[str, Measurement]]) -> Family:
        return Family(crossing.NAME, measure, lacks=lambda: crossing.lacks(self.snapshot), on_demand=True)

    def _measured(self, told: str, answer: Callable[[Fold, Progress], Marks]) -> dict[str, Measurement]:
        rows = crossing.pooled(self.snapshot)
        turns = crossing.turns(rows.y, seed=self.manifest.seed)
        right, twin_right = (np.zeros(len(rows), dtype=np.bool_) for _ in range(2))
        for number in range(crossing.FOLDS):
            fold = self._fold(number, turns == number)
            bar = listener.get().progress(f"{told}: cross-validating, fold {number + 1} of {crossing.FOLDS}")
            right[fold.held], twin_right[fold.held] = answer(fold, bar), fold.right
            bar(1, 1)
        return crossing.measure(rows, turns, right, twin_right)

    def _fold(self, number: int, held: Marks) -> Fold:
        if number < len(self.folds):
            return self.folds[number]
        seed = (self.manifest.seed + number) % 2**32  # other first weights too: what is judged is how models are made
        snapshot = crossing.without(self.snapshot, held, seed=seed)
        early: list[bytes] = []
        bar = listener.get().progress(f"cross-validating: training dense network {number + 1} of {crossing.FOLDS}")
        model = pruning.twin(
            self.workload, snapshot, epochs=self.manifest.train_epochs, seed=seed, early=early.append, progress=bar
        )
        right = _right(deploying.exported(model, snapshot), snapshot)
        self.folds.append(Fold(held, snapshot, seed, model, early[0] if early else None, right))
        return self.folds[number]

    def _answered(self, recipe: Recipe, ratio: float, source: Source | None, fold: Fold, bar: Progress) -> Marks:
        try:
            made = pruning.candidate(
                self.workload,
                fold.model,
                fold.snapshot,
                recipe,
                ratio=ratio,
                epochs=self.manifest.finetune_epochs,
                seed=fold.seed,
                round_to=self.manifest.round_to,
                early=fold.early,
                source=source,
                known=fold.known,
                progress=bar,
            )
            with hushed():  # which layers stay in 32 bits was told of the candidate itself
                file = deploying.artefact(made.deployed, recipe, fold.snapshot, seed=fold.seed)
        except InvalidInputError as error:
            listener.get().say(f"no network without these rows, so they count as answered wrongly: {error}")
            return np.zeros(len(fold.snapshot.release), dtype=np.bool_)
        return _right(file.onnx, fold.snapshot)


def _right(onnx: bytes, fold: Snapshot) -> Marks:
    """Which held-out rows the file gets right, asked as it is when it answers."""
    return Marking(fold.tolerance).right(Session(onnx).logits(fold.release.x), fold.release.y)
