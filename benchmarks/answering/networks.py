"""What is served: a small CNN and a tabular MLP, each with the row that every request carries."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from pruneguard.evaluation.sessions import Session
from pruneguard.pruning.export import to_onnx
from pruneguard.workload import Floats

CLASSES = {"cnn": 10, "mlp": 2}


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """`twin` and `pruned` are ONNX bytes of one shape, the second with weights that differ a little."""

    name: str
    twin: bytes
    pruned: bytes
    row: Floats

    @property
    def expected(self) -> Floats:
        """What the pruned one answers to the row, in process: a server that says anything else is not measured."""
        return Session(self.pruned).logits(self.row)


def networks() -> Iterator[Network]:
    yield _made("cnn", _cnn, (1, 28, 28))
    yield _made("mlp", _mlp, (108,))


def _made(name: str, build: Callable[[], nn.Module], shape: tuple[int, ...]) -> Network:
    torch.manual_seed(0)
    network = build()
    row = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    twin = to_onnx(network, row, classes=CLASSES[name])
    with torch.no_grad():
        for weights in network.parameters():
            weights.add_(0.01 * weights.std(unbiased=False) * torch.randn_like(weights))
    return Network(name, twin, to_onnx(network, row, classes=CLASSES[name]), row)


def _cnn() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(16 * 6 * 6, 32), nn.ReLU(), nn.Linear(32, 10)),
    )


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(108, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
