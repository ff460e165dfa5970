"""Gas: how much of a gas is in the air, by what sixteen sensors say? The network answers with a number."""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning.training import Schedule
from pruneguard.workload import Snapshot, Split

GASES = ("Ethanol", "Ethylene", "Ammonia", "Acetaldehyde", "Acetone", "Toluene")
"""As the published files number them, from 1."""

BATCHES = (1, 2, 3, 4, 5, 6, 8, 9)
FEATURES = 128
TRAIN_ROWS, GATE_ROWS = 3_697, 1_500
"""Release has what is left: 1,500 as well."""

TOLERANCE = 0.1
"""Decades: an answer up to a quarter above or a fifth below the true concentration is right."""

MIDDLE, SPREAD = 2.0, 0.4
"""Decades. The network's last step, so that what it has to learn is of the size of ones, and its answer in decades."""

Doubles = npt.NDArray[np.float64]


class Gas:
    """A perceptron with two hidden layers that answers with the logarithm of parts per million, to the base of ten.

    What a sensor says spans six decades with either sign; the network sees signed logarithms, standardised by train.
    Which gas it is, it must see by itself: the name is a slice and no feature.
    """

    schedule = Schedule(rate=2e-3, batch_size=64, distillation=0.5)

    def build(self) -> nn.Module:
        return nn.Sequential(
            nn.Linear(FEATURES, 192),
            nn.ReLU(),
            nn.Linear(192, 96),
            nn.ReLU(),
            nn.Linear(96, 1),
            Scale(MIDDLE, SPREAD),
        )

    def data(self, directory: Path) -> Snapshot:
        """Rows of all months, drawn into the three splits: what is shown is a margin, not how sensors age."""
        gases, ppm, said = _rows(directory / "gas-drift")
        order = np.random.default_rng(7).permutation(len(ppm))
        drawn = np.split(order, np.cumsum([TRAIN_ROWS, GATE_ROWS]))
        seen = np.sign(said) * np.log1p(np.abs(said))
        features = ((seen - seen[drawn[0]].mean(axis=0)) / seen[drawn[0]].std(axis=0)).astype(np.float32)
        decades = np.log10(ppm).astype(np.float32)
        train, gate, release = (Split(features[rows], decades[rows], {"gas": gases[rows]}) for rows in drawn)
        return Snapshot(train, gate, release, classes=None, tolerance=TOLERANCE, bounds=(-40.0, 40.0))


class Scale(nn.Module):
    """From numbers of the size of ones to the unit of the answer."""

    def __init__(self, middle: float, spread: float) -> None:
        super().__init__()
        self.middle, self.spread = middle, spread

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.middle + self.spread * x


def _rows(folder: Path) -> tuple[npt.NDArray[np.str_], Doubles, Doubles]:
    """The gas, its parts per million and what the sensors say, of every row of every batch."""
    lines = [line for number in BATCHES for line in _lines(folder / f"batch{number}.dat")]
    gases, numbers = zip(*lines, strict=True)
    table = np.array(numbers)
    return np.array(gases), table[:, 0], table[:, 1:]


def _lines(file: Path) -> list[tuple[str, list[float]]]:
    if not file.is_file():
        raise InvalidInputError(
            f"{file.name} is not in {file.parent.resolve()}; set PRUNEGUARD_DATA_DIR to a directory with gas-drift/ "
            "(batch1.dat to batch10.dat, https://archive.ics.uci.edu/dataset/270); examples/gas_drift/README.md has "
            "the commands"
        )
    lines = file.read_text(encoding="utf-8").splitlines()
    return [_line(file, number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _line(file: Path, number: int, line: str) -> tuple[str, list[float]]:
    """The published layout, `1;10.0 1:15596.2 2:1.87 ...`, or values behind commas, with the gas by its name."""
    gas, *cells = re.split("[;, ]+", line.strip())
    name = GASES[int(gas) - 1] if gas in {"1", "2", "3", "4", "5", "6"} else gas
    try:
        values = [float(cell.rpartition(":")[2]) for cell in cells]
    except ValueError:
        values = []
    if name not in GASES or len(values) != 1 + FEATURES or not values[0] > 0:
        raise InvalidInputError(
            f"{file}, line {number}: begins with {line[:30]!r}; expected a gas, its concentration above 0 and "
            f"{FEATURES} numbers; download it again"
        )
    return name, values
