"""Fashion-MNIST: ten kinds of clothing in 28x28 grey pixels, a workload that brings its data from a directory."""

import gzip
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning.training import Schedule
from pruneguard.workload import Floats, Integers, Snapshot, Split

TRAIN_ROWS = 12_000
GATE_ROWS = 5_000
OUTLIERS = 1_000
IMAGES, LABELS = 2051, 2049  # the magic numbers of IDX files of three dimensions and of one


class FashionMnist:
    """A small residual network; the official test rows are halved into gate and release."""

    schedule = Schedule(rate=8e-3, batch_size=128, label_smoothing=0.05)

    def build(self) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 24, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            Residual(24),
            nn.Conv2d(24, 48, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(48),
            nn.ReLU(),
            Residual(48),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(48 * 3 * 3, 10),
        )

    def data(self, directory: Path) -> Snapshot:
        folder = directory / "fashion-mnist"
        train = _rows(folder, "train", slice(TRAIN_ROWS))
        gate = _rows(folder, "t10k", slice(GATE_ROWS))
        release = _rows(folder, "t10k", slice(GATE_ROWS, None))
        outliers = _images(directory / "mnist" / "t10k-images-idx3-ubyte.gz")[:OUTLIERS]
        return Snapshot(train=train, gate=gate, release=release, classes=10, outliers=outliers)


class Residual(nn.Module):
    """x + two convolutions of x, all of one width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(x + self.second_norm(self.second(inner)))


def _rows(folder: Path, part: str, which: slice) -> Split:
    x = _images(folder / f"{part}-images-idx3-ubyte.gz")[which]
    y = _labels(folder / f"{part}-labels-idx1-ubyte.gz")[which]
    return Split(x, y, {"tone": _tone(x)})


def _tone(x: Floats) -> npt.NDArray[np.str_]:
    """How bright the garment itself is: the mean of the pixels that are not background."""
    garment = x > 0
    mean = x.sum(axis=(1, 2, 3)) / np.maximum(garment.sum(axis=(1, 2, 3)), 1)
    return np.where(mean < 0.4, "dark", np.where(mean < 0.65, "medium", "light"))


def _images(file: Path) -> Floats:
    """Pixels in [0, 1], shape [n, 1, 28, 28]."""
    return (_idx(file, IMAGES, 4)[:, None] / 255).astype(np.float32)


def _labels(file: Path) -> Integers:
    return _idx(file, LABELS, 2).astype(np.int64)


def _idx(file: Path, magic: int, words: int) -> npt.NDArray[np.uint8]:
    """An IDX file: `words` big-endian integers (magic number, then the shape), then one byte for each value."""
    if not file.is_file():
        raise InvalidInputError(
            f"{file.name} is not in {file.parent.resolve()}; set PRUNEGUARD_DATA_DIR to a directory with "
            "fashion-mnist/ (four files, https://github.com/zalandoresearch/fashion-mnist) and mnist/ (MNIST's "
            "t10k images); examples/fashion_mnist/README.md has the commands"
        )
    try:
        content = gzip.decompress(file.read_bytes())
        found, *shape = struct.unpack_from(f">{words}I", content)
        values = np.frombuffer(content, np.uint8, offset=4 * words).reshape(shape)
    except (OSError, EOFError, struct.error, ValueError) as error:
        raise InvalidInputError(f"{file} is not a whole gzip IDX file: {error}; download it again") from error
    if found != magic:
        raise InvalidInputError(f"{file} begins with {found}; expected {magic}. Two files may have been swapped")
    return values
