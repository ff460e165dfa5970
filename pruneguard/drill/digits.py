"""What faults are made of: handwritten digits that scikit-learn carries in its wheel, and how a network learns them.

A fault has to be shown by a policy's own margins, so most rows are for judging: 1,200 of them, which show a margin of
one point while two rows in a hundred are discordant. The network learns the digits from the other 500.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from pruneguard.drill.networks import network
from pruneguard.pruning.training import Schedule
from pruneguard.workload import Floats, Integers, Snapshot, Split

CLASSES = 10
OUTLIERS = 300
LEVELS = 16
"""Grey levels of the scanner: every pixel is a whole number of sixteenths."""

LIGHT, HEAVY, EDGE = 0.2875, 0.3213, 0.2
"""Where slices end: the mean of an image up to which it is light, from which it is heavy; ink that touches the edge."""

FINETUNING = Schedule(rate=2e-3, batch_size=32, distillation=0.95, bf16=False)

_SPLIT_SEED = 8
_SHARES = (0.28, 0.95)
"""Where train ends and where gate ends, by class."""


class Digits:
    """A workload like a user's."""

    schedule = Schedule(rate=5e-3, batch_size=32, bf16=False)

    def build(self) -> nn.Sequential:
        return network(64, 96, classes=CLASSES)

    def data(self, directory: Path) -> Snapshot:  # nothing to look up: the rows are inside scikit-learn
        return snapshot()

    def augment(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Turn by up to 12 degrees, scale by up to 10 % and shift by up to one pixel, each image on its own."""
        draw = torch.rand(4, len(x), generator=generator) * 2 - 1
        angle, scale, right, down = draw[0] * 0.21, 1 + draw[1] * 0.1, draw[2] / 4, draw[3] / 4
        cos, sin = scale * angle.cos(), scale * angle.sin()
        turn = torch.stack([torch.stack([cos, -sin, right], 1), torch.stack([sin, cos, down], 1)], 1)
        return F.grid_sample(x, F.affine_grid(turn, list(x.shape), align_corners=False), align_corners=False)


class Finetuned(Digits):
    """The same, at the pace that a trained network is trained further at."""

    schedule = FINETUNING


def snapshot() -> Snapshot:
    """The same rows at every call: each image once, all classes in each split, two slice columns, and outliers."""
    bunch = load_digits()
    _, first = np.unique(bunch.data, axis=0, return_index=True)  # no row may stand in two splits
    x = (bunch.images[np.sort(first), None] / LEVELS).astype(np.float32)
    y = bunch.target[np.sort(first)].astype(np.int64)
    ink, edge = _ink(x), _edge(x)
    train, gate, release = (
        Split(x[rows], y[rows], {"ink": ink[rows], "edge": edge[rows]})
        for rows in _stratified(y, np.random.default_rng(_SPLIT_SEED))
    )
    return Snapshot(train, gate, release, CLASSES, outliers=overlaid(x, OUTLIERS, seed=_SPLIT_SEED)[0])


def overlaid(x: Floats, count: int, *, seed: int) -> tuple[Floats, Integers]:
    """Images that are no digit: one of `x` over another that is turned; and the number of the one that is not."""
    first, second = np.random.default_rng(seed).choice(len(x), (2, count))
    images: Floats = np.maximum(x[first], np.rot90(x[second], axes=(2, 3)))
    return images, first


def _ink(x: Floats) -> npt.NDArray[np.str_]:
    """How much was written, in thirds."""
    mean = x.mean(axis=(1, 2, 3))
    return np.where(mean > HEAVY, "heavy", np.where(mean > LIGHT, "medium", "light"))


def _edge(x: Floats) -> npt.NDArray[np.str_]:
    """Whether the digit was written up to the right edge of its field: one in fifteen was."""
    return np.where(x[:, 0, :, -1].max(axis=1) > EDGE, "touched", "free")


def _stratified(y: Integers, rng: np.random.Generator) -> list[Integers]:
    """Row numbers of train, gate and release."""
    parts = []
    for digit in range(CLASSES):
        rows = rng.permutation(np.flatnonzero(y == digit))
        parts.append(np.split(rows, [int(share * len(rows)) for share in _SHARES]))
    return [np.sort(np.concatenate(rows)) for rows in zip(*parts, strict=True)]
