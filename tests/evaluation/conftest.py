"""Two small networks on the digits that scikit-learn carries, trained and exported once."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from pruneguard import canonical
from pruneguard.evaluation.contender import Contender, Pair
from pruneguard.evaluation.efficiency import latency
from pruneguard.pruning.export import to_onnx
from pruneguard.workload import Snapshot, Split


@pytest.fixture(scope="session")
def digits() -> Snapshot:
    """600 rows of train, 300 of gate, 300 of release, a slice column, and noise as outliers."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    x = (data.images[order, None] / 16).astype(np.float32)
    y = data.target[order].astype(np.int64)
    parity = np.where(y % 2 == 0, "even", "odd")

    def split(start, stop):
        return Split(x[start:stop], y[start:stop], {"parity": parity[start:stop]})

    noise = np.random.default_rng(1).random((150, 1, 8, 8)).astype(np.float32)
    return Snapshot(split(0, 600), split(600, 900), split(900, 1200), 10, outliers=noise)


@pytest.fixture(scope="session")
def twin(digits) -> Contender:
    return contender(_trained(digits.train, width=16), digits)


@pytest.fixture(scope="session")
def candidate(digits) -> Contender:
    return contender(_trained(digits.train, width=4), digits)


@pytest.fixture(scope="session")
def pair(candidate, twin) -> Pair:
    return Pair.load(candidate, twin, classes=10)


@pytest.fixture
def quick(monkeypatch):
    """Latency by a few rounds, where a test is not about it."""
    monkeypatch.setattr(latency, "SECONDS_MAX", 0.01)


def contender(model: nn.Module, snapshot: Snapshot) -> Contender:
    onnx = to_onnx(model, snapshot.train.x[:2], classes=snapshot.classes)
    return Contender(canonical.digest(onnx), onnx, model)


def _trained(split: Split, *, width: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.1),
            nn.Linear(width * 16, 10),
        )
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
        x, y = torch.from_numpy(split.x), torch.from_numpy(split.y)
        for _ in range(8):
            for rows in torch.randperm(len(x)).split(64):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()
    return model.eval()
