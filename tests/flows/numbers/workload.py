"""The smallest regression that goes through the whole lifecycle in seconds: what five features add up to."""

from pathlib import Path

import numpy as np
from torch import nn

from pruneguard.pruning.training import Schedule
from pruneguard.workload import Snapshot, Split


class Sums:
    schedule = Schedule(rate=2e-2, batch_size=32)

    def build(self) -> nn.Module:
        return nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))  # [n], without columns

    def data(self, directory: Path) -> Snapshot:
        x = np.random.default_rng(5).random((1100, 5), dtype=np.float32)
        y = (x @ np.array([3, -2, 1, 0, 0])).astype(np.float32)
        train, gate, release = (Split(x[a:b], y[a:b]) for a, b in ((0, 500), (500, 800), (800, 1100)))
        return Snapshot(train, gate, release, classes=None, tolerance=0.5)
