"""What every phase of a recipe works with: rows, the teacher, training, and a look at what it has cost so far."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.marking import BY_CLASS, Marking, numbers
from pruneguard.pruning import parts, training
from pruneguard.pruning.group import Found, Part
from pruneguard.pruning.regimes import Regime
from pruneguard.pruning.transfer import Source
from pruneguard.pruning.weights import State
from pruneguard.reporting import Progress
from pruneguard.workload import Floats, Integers, Split, Workload

EXAMPLE_ROWS = 2
_BATCH = 256

Promising: TypeAlias = Callable[[nn.Module], bool]
"""Asked of a network as it will be deployed, before it is trained: is it worth the time?"""


@dataclass(slots=True, eq=False)
class Known:
    """What is worked out once for a twin and its rows, however many candidates are made of them."""

    found: dict[Part, Found] = field(default_factory=dict)
    rows: dict[str, Integers] = field(default_factory=dict)

    def find(self, part: Part, twin: nn.Module, example: Floats) -> Found:
        if part not in self.found:
            self.found[part] = parts.find(part, twin, example)
        return self.found[part]


@dataclass(frozen=True, slots=True, eq=False)
class Shop:
    """One candidate's surroundings. `ratio` is the search's number, `early` the twin's weights early in training.

    `round_to` is the multiple that widths are kept at. `promising` says of a network whose shape is final whether
    training it is worth the time. `source` is the pruned network that a recipe transfers from. `meter` gives the bar
    for so many epochs.
    """

    workload: Workload
    train: Split
    gate: Split
    twin: nn.Module
    early: State | None
    ratio: float
    seed: int
    round_to: int
    promising: Promising | None
    known: Known
    meter: Callable[[int], Progress | None]
    source: Source | None = None

    @property
    def example(self) -> Floats:
        return self.train.x[:EXAMPLE_ROWS]

    def fit(self, model: nn.Module, *, epochs: int, regime: Regime | None = None) -> None:
        training.fit(
            model,
            self.train,
            epochs=epochs,
            seed=self.seed,
            teacher=self.twin,
            augment=getattr(self.workload, "augment", None),
            schedule=getattr(self.workload, "schedule", training.Schedule()),
            progress=self.meter(epochs),
            regime=regime,
        )

    def require_early(self) -> State:
        if self.early is None:
            raise InvalidInputError(
                "this recipe rewinds, and the twin's weights early in training were not kept: the workload trains by "
                "its own train(). Leave the training to PruneGuard, or take another schedule"
            )
        return self.early

    def drop(self, model: nn.Module) -> float:
        """What the network has lost on the gate split against the twin, below 0 where it has gained: accuracy, or the
        share of the variance that is explained (R^2) where labels are numbers.
        """
        score = explained if self.gate.y.dtype.kind == "f" else accuracy
        return score(self.twin, self.gate) - score(model, self.gate)


def metered(progress: Progress | None, *, epochs: int) -> Callable[[int], Progress | None]:
    """One bar for several trainings that take `epochs` together."""
    done = 0

    def begin(share: int) -> Progress | None:
        nonlocal done
        before, done = done, done + share
        if progress is None:
            return None
        return lambda step, steps: progress(before * steps + share * step, max(epochs, before + share) * steps)

    return begin


def right(model: nn.Module, split: Split, marking: Marking = BY_CLASS) -> npt.NDArray[np.bool_]:
    """Which rows the network, which must be in eval mode, gets right; what is not finite is no answer."""
    return marking.right(_answers(model, split), split.y)


def accuracy(model: nn.Module, split: Split) -> float:
    """Share of rows that the network, which must be in eval mode, gets right."""
    return float(right(model, split).mean())


def explained(model: nn.Module, split: Split) -> float:
    """Share of the targets' variance that a regression's network, which must be in eval mode, explains; NaN where an
    answer is not finite.
    """
    missed = numbers(_answers(model, split)) - split.y
    return float(1 - np.mean(missed**2) / np.var(split.y, dtype=np.float64))


def _answers(model: nn.Module, split: Split) -> Floats:
    with torch.inference_mode():
        batches = (torch.from_numpy(split.x[at : at + _BATCH]) for at in range(0, len(split), _BATCH))
        answers: Floats = torch.cat([model(batch) for batch in batches]).numpy()
    return answers.reshape(len(split), -1)
