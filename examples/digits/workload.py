"""Handwritten digits, 8x8 pixels: real data that scikit-learn carries inside its wheel, so nothing is downloaded."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from pruneguard.pruning.training import Schedule
from pruneguard.workload import Floats, Integers, Snapshot, Split

SPLIT_SEED = 8
OUTLIERS = 300


class Digits:
    """Ten digits, three convolutions; a quarter of the rows for the gate, a quarter for the release."""

    schedule = Schedule(rate=5e-3, batch_size=32)

    def build(self) -> nn.Module:
        return nn.Sequential(
            *_block(1, 32),
            *_block(32, 64),
            nn.MaxPool2d(2),
            *_block(64, 64),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * 2 * 2, 10),
        )

    def data(self, directory: Path) -> Snapshot:  # nothing to look up: the rows are inside scikit-learn
        bunch = load_digits()
        _, first = np.unique(bunch.data, axis=0, return_index=True)  # no row may stand in two splits
        x = (bunch.images[np.sort(first), None] / 16).astype(np.float32)
        y = bunch.target[np.sort(first)].astype(np.int64)
        train, gate, release = _stratified(y, np.random.default_rng(SPLIT_SEED))
        ink = _ink(x)
        return Snapshot(
            train=Split(x[train], y[train], {"ink": ink[train]}),
            gate=Split(x[gate], y[gate], {"ink": ink[gate]}),
            release=Split(x[release], y[release], {"ink": ink[release]}),
            classes=10,
            outliers=_outliers(x, np.random.default_rng(SPLIT_SEED)),
        )

    def augment(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Turn by up to 12 degrees, scale by up to 10 % and shift by up to one pixel, each image on its own."""
        draw = torch.rand(4, len(x), generator=generator) * 2 - 1
        angle, scale, right, down = draw[0] * 0.21, 1 + draw[1] * 0.1, draw[2] / 4, draw[3] / 4
        cos, sin = scale * angle.cos(), scale * angle.sin()
        turn = torch.stack([torch.stack([cos, -sin, right], 1), torch.stack([sin, cos, down], 1)], 1)
        return F.grid_sample(x, F.affine_grid(turn, list(x.shape), align_corners=False), align_corners=False)


def _block(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()


def _stratified(y: Integers, rng: np.random.Generator) -> tuple[Integers, Integers, Integers]:
    """Row numbers of train (50 %), gate and release (25 % each), every class in the same shares."""
    shuffled = [rng.permutation(np.flatnonzero(y == digit)) for digit in range(10)]
    parts = [np.split(rows, [len(rows) // 2, len(rows) * 3 // 4]) for rows in shuffled]
    train, gate, release = (np.sort(np.concatenate(part)) for part in zip(*parts, strict=True))
    return train, gate, release


def _ink(x: Floats) -> npt.NDArray[np.str_]:
    """How much was written, in thirds of all rows: a slice that a thin pen or a weak scan would show up in."""
    mean = x.mean(axis=(1, 2, 3))
    third: npt.NDArray[np.int64] = np.searchsorted(np.quantile(mean, [1 / 3, 2 / 3]), mean)
    return np.array(["light", "medium", "heavy"])[third]


def _outliers(x: Floats, rng: np.random.Generator) -> Floats:
    """Images that are no digit: pairs of digits laid over each other, one of them turned, the pixels' range kept."""
    first, second = rng.choice(len(x), (2, OUTLIERS))
    overlaid: Floats = np.maximum(x[first], np.rot90(x[second], axes=(2, 3)))
    return overlaid
