"""Workloads of every kind of network that has to be prunable, small enough to be trained in a blink.

Rows are alike for all: a bright place says the class, so anything that learns learns it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pruneguard.pruning.training import Schedule
from pruneguard.workload import Snapshot, Split
from tests.pruning.networks import CLASSES, separable
from tests.pruning.parts import attentive
from tests.pruning.parts.attentive import Attention, Classifier, Encoder, Layer, Mixture, feed

ROWS = 96
STEPS, FEATURES = 6, 2
SCHEDULE = Schedule(rate=1e-2, batch_size=16, bf16=False)


@dataclass(frozen=True)
class Target:
    """A workload whose network is made by `network`, from rows that `rows` makes out of a seed."""

    network: Callable[[], nn.Module]
    rows: Callable[[], Split]
    schedule: Schedule = SCHEDULE

    def build(self) -> nn.Module:
        return self.network()

    def data(self, directory: Path = Path()) -> Snapshot:
        split = self.rows()
        return Snapshot(train=split, gate=split, release=split, classes=CLASSES)


class Block(nn.Module):
    """A residual block: a convolution, a depthwise and a grouped one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.grouped = nn.Conv2d(width, width, 1, groups=4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.grouped(torch.relu(self.depthwise(torch.relu(self.norm(self.first(x))))))


class Convolutions(nn.Module):
    """Two residual blocks, a stage of another width behind them, a perceptron at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.blocks = nn.ModuleList(Block(16) for _ in range(2))
        self.down = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(32)
        self.head = nn.Linear(32, 16)
        self.last = nn.Linear(16, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return self.last(torch.relu(self.head(torch.relu(self.norm(self.down(x))).amax((2, 3)))))


class Recurrent(nn.Module):
    """A recurrent layer of two, in both directions, over steps of two features."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.recurrent = kind(FEATURES, 16, num_layers=2, bidirectional=True, batch_first=True)
        self.hidden = nn.Linear(32, 16)
        self.last = nn.Linear(16, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        steps, _ = self.recurrent(x.unflatten(1, (STEPS, FEATURES)))
        return self.last(torch.relu(self.hidden(steps.mean(1))))


def perceptron() -> nn.Module:
    return nn.Sequential(
        nn.Linear(STEPS * FEATURES, 32),
        nn.LayerNorm(32),
        nn.GELU(),
        nn.Linear(32, 32),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Linear(32, 16),
        nn.ReLU(),
        nn.Linear(16, CLASSES),
    )


def deep_mixture() -> nn.Module:
    """Experts that are transformer layers: heads and neurons inside what may itself leave."""

    def mixture() -> Mixture:
        made = Mixture()
        made.experts = nn.ModuleList(Layer(Attention(), feed()) for _ in range(made.num_experts))
        return made

    return Classifier(*(Layer(Attention(), mixture()) for _ in range(2)))


def table(columns: int = STEPS * FEATURES) -> Split:
    """Rows whose class is where, in thirds, the large numbers are; none is 0, which would be padding."""
    rng = np.random.default_rng(4)
    y = np.arange(ROWS, dtype=np.int64) % CLASSES
    x = rng.random((ROWS, columns), dtype=np.float32) * 0.4 + 0.05
    third = columns // CLASSES
    for row, label in enumerate(y):
        x[row, third * label : third * (label + 1)] += 0.5
    return Split(x, y)


def sentences() -> Split:
    return table(attentive.TOKENS.shape[1])


TARGETS: dict[str, Target] = {
    "mlp": Target(perceptron, table),
    "cnn": Target(Convolutions, lambda: separable(ROWS)),
    "lstm": Target(lambda: Recurrent(nn.LSTM), table),
    "gru": Target(lambda: Recurrent(nn.GRU), table),
    "written": Target(lambda: Classifier(*(Layer(Attention(), feed()) for _ in range(3))), sentences),
    "torch": Target(lambda: Encoder(padded=False), sentences),
    "mixture": Target(lambda: Classifier(*(Layer(Attention(), Mixture()) for _ in range(3))), sentences),
    "deep mixture": Target(deep_mixture, sentences),
}
