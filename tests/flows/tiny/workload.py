"""The smallest workload that goes through the whole lifecycle in seconds: digits, one convolution, few rows."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from torch import nn

from pruneguard.workload import Snapshot, Split


class Tiny:
    def build(self) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 4 * 4, 10)
        )

    def data(self, directory: Path) -> Snapshot:
        bunch = load_digits()
        start = 1 if (directory / "a-row-less").exists() else 0
        x, y = (bunch.images[:, None] / 16).astype(np.float32), bunch.target.astype(np.int64)
        train, gate, release = (Split(x[a:b], y[a:b]) for a, b in ((start, 900), (900, 1300), (1300, 1700)))
        return Snapshot(train, gate, release, classes=10, outliers=np.flip(x[:200], axis=2).copy())
