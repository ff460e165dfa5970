"""JapaneseVowels: which of nine speakers says two vowels? Series of 12 numbers a step, for recurrent networks."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning.training import Schedule
from pruneguard.workload import Floats, Snapshot, Split

SPEAKERS = 9
STEPS, COEFFICIENTS = 29, 12
UNITS = 64
"""Of each direction."""

NOISE = 0.5
"""Standard deviations of the numbers, which are standardised."""


class _Vowels:
    """Rows are series [n, 29, 12], filled up with zeros; the official test series are halved speaker by speaker."""

    schedule = Schedule(rate=5e-3, batch_size=32, weight_decay=0.05, label_smoothing=0.05)

    def data(self, directory: Path) -> Snapshot:
        folder = directory / "japanese-vowels"
        train, test = (_split(folder / f"JapaneseVowels_{part}.ts") for part in ("TRAIN", "TEST"))
        train, test = (Split(_standardised(split.x, like=train.x), split.y) for split in (train, test))
        turn = np.zeros(len(test), dtype=np.int64)
        for speaker in range(SPEAKERS):
            said = test.y == speaker
            turn[said] = (np.arange(said.sum()) + speaker) % 2  # who begins alternates: some have an odd number
        gate, release = (Split(test.x[turn == half], test.y[turn == half]) for half in (0, 1))
        return Snapshot(train, gate, release, SPEAKERS, bounds=(-6.0, 6.0))

    def augment(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Noise on the real steps: 270 series are learned by heart without it."""
        return x + NOISE * torch.randn(x.shape, generator=generator) * _mask(x)


class VowelsLstm(_Vowels):
    def build(self) -> nn.Module:
        return Speaker(nn.LSTM(COEFFICIENTS, UNITS, batch_first=True, bidirectional=True))


class VowelsGru(_Vowels):
    def build(self) -> nn.Module:
        return Speaker(nn.GRU(COEFFICIENTS, UNITS, batch_first=True, bidirectional=True))


class Speaker(nn.Module):
    """The mean of what a recurrent layer says at the real steps, then one matrix."""

    def __init__(self, recurrent: nn.LSTM | nn.GRU) -> None:
        super().__init__()
        self.recurrent = recurrent
        self.dropout = nn.Dropout(0.3)
        self.speaker = nn.Linear(2 * UNITS, SPEAKERS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        real = _mask(x)
        said, _ = self.recurrent(x)
        return self.speaker(self.dropout((said * real).sum(1) / real.sum(1).clamp(min=1)))


def _mask(x: torch.Tensor) -> torch.Tensor:
    """1 at the steps [n, 29, 1] that are real, 0 after the end of a series. No published step is all zeros."""
    return (x != 0).any(dim=2, keepdim=True).to(x.dtype)


def _standardised(x: Floats, *, like: Floats) -> Floats:
    """By mean and spread of each number at the real steps of `like`; what was filled up stays zero."""
    known = like[(like != 0).any(axis=2)]
    scaled: Floats = (x - known.mean(axis=0)) / known.std(axis=0)
    scaled[(x == 0).all(axis=2)] = 0
    return scaled


def _split(file: Path) -> Split:
    """A .ts file of sktime: series a line, dimensions parted by ":", steps by ",", the speaker at the end."""
    if not file.is_file():
        raise InvalidInputError(
            f"{file.name} is not in {file.parent.resolve()}; set PRUNEGUARD_DATA_DIR to a directory with "
            "japanese-vowels/ (two files, https://www.timeseriesclassification.com/description.php?"
            "Dataset=JapaneseVowels); examples/japanese_vowels/README.md has the commands"
        )
    lines = [
        (number, line.strip())
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if line.strip() and line[0] not in "#@"
    ]
    series, speakers = [], []
    for number, line in lines:
        try:
            *dimensions, speaker = line.split(":")
            series.append(_filled([[float(value) for value in steps.split(",")] for steps in dimensions]))
            speakers.append(_number(speaker))
        except ValueError as error:
            raise InvalidInputError(f"{file}, line {number}: {error}; download it again") from error
    if not series:
        raise InvalidInputError(f"{file} holds no series; download it again")
    return Split(np.stack(series), np.array(speakers, dtype=np.int64))


def _filled(dimensions: list[list[float]]) -> Floats:
    """[29, 12] of 12 dimensions with as many steps as the series is long, zeros after its end."""
    lengths = {len(steps) for steps in dimensions}
    if len(dimensions) != COEFFICIENTS or len(lengths) != 1 or max(lengths) > STEPS:
        raise ValueError(
            f"{len(dimensions)} dimensions of {sorted(lengths)} steps; "
            f"expected {COEFFICIENTS} of one length up to {STEPS}"
        )
    rows = np.zeros((STEPS, COEFFICIENTS), dtype=np.float32)
    rows[: max(lengths)] = np.array(dimensions, dtype=np.float32).T
    return rows


def _number(speaker: str) -> int:
    """From 0, of a label from 1."""
    number = int(speaker) - 1
    if not 0 <= number < SPEAKERS:
        raise ValueError(f"speaker {speaker}; expected 1 to {SPEAKERS}")
    return number
