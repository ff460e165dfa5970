"""Small networks of the shapes that pruning has to get right, and rows for them."""

import numpy as np
import torch
from torch import nn

from pruneguard.workload import Floats, Split

CLASSES = 3
IMAGES: Floats = np.random.default_rng(0).random((6, 1, 8, 8), dtype=np.float32)
TABLE: Floats = np.random.default_rng(0).random((6, 5), dtype=np.float32)


def plain() -> nn.Module:
    """Convolutions, norms, and a flatten that turns one channel into 16 columns of the last layer."""
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 16, CLASSES),
        )
    )


class Residual(nn.Module):
    """A skip connection, a depthwise and a grouped convolution, a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.first = nn.Conv2d(16, 16, 3, padding=1)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.side = nn.Conv2d(16, 24, 1)
        self.mix = nn.Conv2d(40, 16, 1)
        self.grouped = nn.Conv2d(16, 16, 1, groups=2)
        self.last = nn.Linear(16, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        x = x + torch.relu(self.depthwise(self.first(x)))
        x = torch.cat([x, torch.relu(self.side(x))], 1)
        return self.last(self.grouped(self.mix(x)).mean((2, 3)))


def residual() -> nn.Module:
    return seeded(Residual)


def table() -> nn.Module:
    return seeded(
        lambda: nn.Sequential(nn.Linear(5, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, 16), nn.Linear(16, CLASSES))
    )


class Sentence(nn.Module):
    """A small transformer over the columns of a table."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(1, 16)
        self.encoder = nn.TransformerEncoderLayer(16, 2, dim_feedforward=32, batch_first=True)
        self.last = nn.Linear(16, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.encoder(self.embed(x.unsqueeze(2))).mean(1))


def transformer() -> nn.Module:
    return seeded(Sentence)


class Memory(nn.Module):
    """An LSTM over the columns of a table."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(1, 8, batch_first=True)
        self.last = nn.Linear(8, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.recurrent(x.unsqueeze(2))[0][:, -1])


def recurrent() -> nn.Module:
    return seeded(Memory)


def seeded(build):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return build()


def separable(rows: int = 90) -> Split:
    """Images whose class is where the bright band is: anything that learns learns it."""
    rng = np.random.default_rng(2)
    y = np.arange(rows, dtype=np.int64) % CLASSES
    x = rng.random((rows, 1, 8, 8), dtype=np.float32) * 0.3
    for row, label in enumerate(y):
        x[row, 0, 2 * label : 2 * label + 2] += 0.6
    return Split(x, y)
