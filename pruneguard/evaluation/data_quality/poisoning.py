"""Signs that somebody planted rows. None of them proves it, and an attack can be made that shows none.

All three look at the nearest neighbours of drawn train rows, in the rows' principal directions:

- `data.odd_labels`: rows whose neighbours agree on another class. Flipped labels and rows carried from one class into
  another (a backdoor of Gu 2017, arXiv:1708.06733) look like this; so do honest mistakes, and classes that overlap.
- `data.islands`: small dense groups of one label amid another class. Copies with a planted label look like this, and a
  trigger that is most of the row.
- `data.trigger`: how surely one column tells a class's odd rows from their neighbours of other classes. A mark that
  planted rows share and their neighbours lack does this; random mistakes do not.

Not seen: poison with right labels, triggers spread thinly over the whole row, fewer planted rows than ODD_MIN of those
drawn, and more rows than an island has whose mark is so strong that they are nearest to each other.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import mode

from pruneguard.evaluation.data_quality.lens import COLUMNS_MAX, Lens, draw, drawn
from pruneguard.evaluation.estimates import share, unknown
from pruneguard.evidence import Estimate, Measurement
from pruneguard.workload import Floats, Integers, Snapshot

NEIGHBOURS = 10
AGREE = 0.7
"""Share of the neighbours that must agree on another class."""

INNER, RING = 5, (20, 50)
"""An island's rows: the nearest INNER carry its label, those in the RING, by rank, agree on another."""

ODD_MIN = 10
"""Odd rows of a class below which nothing is said of what they share."""

MARK_MIN = 0.15
"""Where a mark is worth naming: classes that overlap show up to 0.09 in the data sets of the examples."""

_COMPARED_MAX = 1000
_ALPHA = 0.05

Marks = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Indicators:
    """What is measured; for each class its odd rows and all its rows drawn; and the column and class of the mark."""

    measurements: dict[str, Measurement]
    odd: dict[int, tuple[int, int]]
    mark: tuple[int, int] | None = None


def measure(snapshot: Snapshot, lens: Lens) -> Indicators:
    """The three; unknown with too few rows for a ring of neighbours, a single class, or rows all alike."""
    rows = snapshot.train.taken(drawn(snapshot.train))
    names = ("data.odd_labels", "data.islands", "data.trigger")
    points = lens.points(rows.x)
    if len(rows) <= RING[1] or len(np.unique(rows.y)) < 2 or not np.ptp(points):
        return Indicators(dict.fromkeys(names, unknown(n=len(rows))), {})
    neighbours = _neighbours(points)
    odd = _outvoted(rows.y, neighbours[:, :NEIGHBOURS])
    mark = strongest_mark(_columns(rows.x, lens), rows.y, odd, neighbours[:, :NEIGHBOURS])
    planted = _islands(rows.y, neighbours)
    return Indicators(
        {
            "data.odd_labels": share(int(odd.sum()), len(rows), alpha=_ALPHA),
            "data.islands": share(int(planted.sum()), len(rows), alpha=_ALPHA),
            "data.trigger": Estimate(mark[0] if mark else 0.0, n=len(rows)),
        },
        {int(c): (int(odd[rows.y == c].sum()), int((rows.y == c).sum())) for c in np.unique(rows.y)},
        mark[1:] if mark and mark[0] > MARK_MIN else None,
    )


def _neighbours(points: Floats) -> Integers:
    """The numbers of the nearest rows of each row, itself left out, the nearest first [n, RING[1]]."""
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=RING[1], algorithm="brute").fit(points)
    found: Integers = nearest.kneighbors(return_distance=False)
    return found


def _outvoted(y: Integers, neighbours: Integers) -> Marks:
    """Rows whose neighbours agree on another class."""
    winner, votes = mode(y[neighbours], axis=1)
    return np.asarray((winner != y) & (votes >= AGREE * neighbours.shape[1]))


def _islands(y: Integers, neighbours: Integers) -> Marks:
    inner = (y[neighbours[:, :INNER]] == y[:, None]).mean(axis=1) >= AGREE
    return np.asarray(inner & _outvoted(y, neighbours[:, RING[0] : RING[1]]))


def strongest_mark(columns: Floats, y: Integers, odd: Marks, neighbours: Integers) -> tuple[float, int, int] | None:
    """How surely one column tells odd rows of one class from their neighbours of others; the column, and the class.

    The largest distance between the distribution functions of a column (Kolmogorov-Smirnov) minus what chance could
    make of it with so many columns and classes (Massart 1990, Annals of Probability 18, 1269-1283, with a union
    bound), at least 0. None where no class has ODD_MIN odd rows with neighbours of other classes.
    """
    classes = np.unique(y)
    best: tuple[float, int, int] | None = None
    for label in classes:
        ours = np.flatnonzero(odd & (y == label))
        around = np.unique(neighbours[ours])
        theirs = around[y[around] != label]
        if min(len(ours), len(theirs)) < ODD_MIN:
            continue
        ours, theirs = (rows[draw(len(rows), _COMPARED_MAX)] for rows in (ours, theirs))
        apart = _distance(columns[ours], columns[theirs])
        tests = columns.shape[1] * len(classes)
        chance = np.sqrt(np.log(2 * tests / _ALPHA) / 2 * (1 / len(ours) + 1 / len(theirs)))
        column = int(apart.argmax())
        sure = max(float(apart[column] - chance), 0.0)
        if best is None or sure > best[0]:
            best = sure, column, int(label)
    return best


def _distance(ours: Floats, theirs: Floats) -> npt.NDArray[np.float64]:
    """The largest difference between two distribution functions, column by column [columns]."""
    both = np.concatenate([ours, theirs])
    order = both.argsort(axis=0, kind="stable")
    ordered = np.take_along_axis(both, order, axis=0)
    steps = np.where(order < len(ours), 1 / len(ours), -1 / len(theirs)).cumsum(axis=0)
    last = np.ones_like(ordered, dtype=bool)  # of equal values, only after the last is the function there
    last[:-1] = ordered[1:] != ordered[:-1]
    distance: npt.NDArray[np.float64] = np.abs(np.where(last, steps, 0)).max(axis=0)
    return distance


def _columns(x: Floats, lens: Lens) -> Floats:
    """The columns as they are, where there are not too many to try one by one."""
    flat = x.reshape(len(x), int(np.prod(x.shape[1:])))
    return np.nan_to_num(flat) if flat.shape[1] <= 2 * COLUMNS_MAX else lens.rows(x)
