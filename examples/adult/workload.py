"""Adult: does a person of the US census of 1994 earn more than 50,000 dollars a year? A table with missing values."""

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning.training import Schedule
from pruneguard.workload import Floats, Integers, Snapshot, Split

COLUMNS = (
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship",
    "race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income",
)  # fmt: skip
NUMBERS = ("age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week")
AMOUNTS = ("fnlwgt", "capital-gain", "capital-loss")
"""Numbers that span decades; the network sees their logarithm."""

TEXTS = ("workclass", "marital-status", "occupation", "relationship", "native-country")
"""The texts that the network sees. `education` says what `education-num` says; `sex` and `race` are slices only."""

SLICES = ("sex", "race")
PROTECTED = (*SLICES, "age group")
AGES = (25, 40, 60)
"""Where one age group ends and the next begins."""

FEATURES = 85
INCOMES = {"<=50K": 0, ">50K": 1}

Table = dict[str, npt.NDArray[np.str_]]


class Adult:
    """A perceptron with two hidden layers; the official test rows are halved into gate and release.

    Numbers are standardised by train's mean and spread. A text becomes one column for each value that train knows; "?",
    no answer, is one of them, as who does not answer is not like everybody else.
    """

    schedule = Schedule(rate=2e-3, batch_size=256, weight_decay=0.05)

    def build(self) -> nn.Module:
        return nn.Sequential(
            nn.Linear(FEATURES, 256),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(256, 128),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(128, 2),
        )

    def data(self, directory: Path) -> Snapshot:
        train, test = (_table(directory / "adult" / f"adult-{part}.csv") for part in ("train", "test"))
        whole = _split(train, like=train)
        held = _split(test, like=train)
        fresh = _fresh(held.x, seen=whole.x)
        gate, release = (_part(held, rows) for rows in np.array_split(fresh, 2))
        return Snapshot(whole, gate, release, classes=2, bounds=(-10.0, 20.0), protected=PROTECTED)


def _split(table: Table, *, like: Table) -> Split:
    """The table's rows in the columns and on the scale of the table `like`."""
    features = [_standardised(table, like, column) for column in NUMBERS]
    features += [table[column] == value for column in TEXTS for value in np.unique(like[column])]
    labels = np.array([INCOMES[income] for income in table["income"]], dtype=np.int64)
    slices = {column: table[column] for column in SLICES} | {"age group": _age_groups(table["age"])}
    return Split(np.stack(features, axis=1).astype(np.float32), labels, slices)


def _age_groups(ages: npt.NDArray[np.str_]) -> npt.NDArray[np.str_]:
    names = np.array(["under 25", "25 to 39", "40 to 59", "60 and over"])
    return names[np.digitize(ages.astype(np.int64), AGES)]


def _standardised(table: Table, like: Table, column: str) -> npt.NDArray[np.float64]:
    values, known = (part[column].astype(np.float64) for part in (table, like))
    if column in AMOUNTS:
        values, known = np.log1p(values), np.log1p(known)
    return (values - known.mean()) / known.std()


def _fresh(x: Floats, *, seen: Floats) -> Integers:
    """Numbers of the rows of `x` that stand neither in `seen` nor earlier in `x`, in order."""
    _, first = np.unique(np.concatenate([seen, x]), axis=0, return_index=True)
    return np.sort(first[first >= len(seen)]) - len(seen)


def _part(split: Split, rows: Integers) -> Split:
    return Split(split.x[rows], split.y[rows], {column: values[rows] for column, values in split.slices.items()})


def _table(file: Path) -> Table:
    """The columns of an Adult file as texts. The published test file ends every income with a full stop."""
    if not file.is_file():
        raise InvalidInputError(
            f"{file.name} is not in {file.parent.resolve()}; set PRUNEGUARD_DATA_DIR to a directory with adult/ (two "
            "files, https://archive.ics.uci.edu/dataset/2/adult); examples/adult/README.md has the commands"
        )
    with file.open(newline="", encoding="utf-8") as lines:
        rows = [(number, line) for number, line in enumerate(csv.reader(lines, skipinitialspace=True), 1) if line]
    for number, cells in rows:
        if problem := _problem(cells):
            raise InvalidInputError(f"{file}, line {number}: {problem}; download it again")
    if not rows:
        raise InvalidInputError(f"{file} holds no rows; download it again")
    columns = np.array([cells for _, cells in rows]).T
    return dict(zip(COLUMNS, columns, strict=True)) | {"income": np.char.rstrip(columns[-1], ".")}


def _problem(cells: list[str]) -> str:
    """What is wrong with a line of an Adult file, "" for nothing."""
    if len(cells) != len(COLUMNS):
        return f"{len(cells)} values; expected {len(COLUMNS)}"
    line = dict(zip(COLUMNS, cells, strict=True))
    for column in NUMBERS:
        if not line[column].isdigit():
            return f"{column} is {line[column]!r}; expected a whole number"
    if line["income"].rstrip(".") not in INCOMES:
        return f"income is {line['income']!r}; expected one of {list(INCOMES)}"
    return ""
