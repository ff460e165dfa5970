"""Where a recipe and its controls are trained alike: same rows, teacher and schedule."""

import copy
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pruneguard import pruning
from pruneguard.analysis.subject import Subject
from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.efficiency.macs import multiply_accumulates
from pruneguard.pruning import masks, recomputing, regimes
from pruneguard.pruning.recipe import Recipe
from pruneguard.pruning.shop import Shop
from pruneguard.reporting import Progress, listener

LONGER_MAX = 2
"""From scratch for as much computation as the twin took, but at most so many times its epochs (Liu et al. 2019)."""


@dataclass(frozen=True, slots=True)
class Control:
    """One side: accuracy minus the twin's with each seed, after `epochs` epochs; none where `reason` says why."""

    name: str
    epochs: int
    left: float
    differences: tuple[float, ...]
    reason: str = ""

    @property
    def mean(self) -> float:
        return statistics.fmean(self.differences)

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds; None for a single one."""
        return statistics.stdev(self.differences) if len(self.differences) > 1 else None

    def to_document(self) -> dict[str, Any]:
        mean = self.mean if self.differences else None
        facts = {"name": self.name, "epochs": self.epochs, "weights_left": self.left, "why": self.reason}
        return facts | {"mean": mean, "sd": self.spread, "accuracy_differences": list(self.differences)}


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """Where every side is trained alike."""

    subject: Subject
    epochs: int
    meter: Callable[[int], Progress | None]

    def control(self, name: str, seeds: Sequence[int], train: Callable[[int], tuple[nn.Module, int]]) -> Control:
        """One side with every seed: `train` gives its network and how many epochs it took."""
        subject, whole = self.subject, _weights(self.subject.twin.model)
        differences, lefts, epochs = [], [], 0
        try:
            for seed in seeds:
                model, epochs = train(seed)
                differences.append(subject.compared(model).difference)
                lefts.append(_weights(model) / whole)
        except InvalidInputError as error:
            return Control(name, epochs, 0.0, (), str(error))
        found = Control(name, epochs, statistics.fmean(lefts), tuple(differences))
        listener.get().say(f"{name}: {100 * found.mean:+.2f} points against the twin, {epochs} epochs")
        return found

    def candidate(self, recipe: Recipe, ratio: float, seed: int) -> pruning.Candidate:
        subject = self.subject
        return pruning.candidate(
            subject.workload,
            subject.twin.model,
            subject.snapshot,
            recipe,
            ratio=ratio,
            epochs=self.epochs,
            seed=seed,
            round_to=subject.manifest.round_to,
            early=subject.twin.early,
            known=subject.twin.known,
            progress=self.meter(self.epochs),
        )

    def longer(self, seed: int) -> tuple[nn.Module, int]:
        model = copy.deepcopy(self.subject.twin.model)
        self._fit(model, seed=seed, epochs=self.epochs, stays={})
        return model, self.epochs

    def scratch(self, made: pruning.Candidate, seed: int, *, long: bool) -> tuple[nn.Module, int]:
        subject, train = self.subject, self.subject.manifest.train_epochs
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = fresh(pruning.shaped(subject.workload.build(), made.lineage))
        stays = _stays(made)
        masks.apply(model, stays)
        epochs = train
        if long:
            row = subject.snapshot.train.x[:1]
            cost = multiply_accumulates(model, row) / multiply_accumulates(subject.twin.model, row)
            epochs = longer(train, train + self.epochs, cost=cost)
        self._fit(model, seed=seed, epochs=epochs, stays=stays)
        return model, epochs

    def _fit(self, model: nn.Module, *, seed: int, epochs: int, stays: masks.Masks) -> None:
        subject = self.subject
        shop = Shop(
            workload=subject.workload,
            train=subject.snapshot.train,
            gate=subject.snapshot.gate,
            twin=subject.twin.model,
            early=None,
            ratio=0.0,
            seed=seed,
            round_to=subject.manifest.round_to,
            promising=None,
            known=subject.twin.known,
            source=None,
            meter=self.meter,
        )
        shop.fit(model, epochs=epochs, regime=regimes.Held(stays) if stays else None)


def longer(train: int, learnt: int, *, cost: float) -> int:
    """Epochs that cost what the twin's training did, at most twice as many, and no fewer than `learnt`.

    >>> longer(20, 32, cost=0.25), longer(20, 32, cost=0.9)
    (40, 32)
    """
    return max(learnt, round(train * min(LONGER_MAX, 1 / cost if cost > 0 else LONGER_MAX)))


def fresh(model: nn.Module) -> nn.Module:
    """Every layer that knows how to draw its first weights draws them, for the width that it has now; in place."""
    for module in model.modules():
        if callable(reset := getattr(module, "reset_parameters", None)):
            reset()
    return model


def _stays(made: pruning.Candidate) -> masks.Masks:
    packed = recomputing.read_masks(made.lineage, made.masks)
    return masks.unpack(packed, {name: mask.shape for name, mask in made.lineage.masks.items()})


def _weights(model: nn.Module) -> int:
    """Those that are not zero."""
    return sum(int(parameter.count_nonzero()) for parameter in model.parameters())
