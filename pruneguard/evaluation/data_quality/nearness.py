"""Rows that are nearly the same row: a picture saved again, a table whose numbers were rounded, words in another order.

A row is near another when nobody could have meant two observations by them:

- images: averaged to 8 x 8 pixels, brightness and contrast taken out, they differ by at most IMAGE_NEAR of what two
  rows of train differ by at random. Seen: saved again, resized, brightened. Not seen: moved, mirrored, cropped.
- texts: the same tokens equally often, in any order. Not seen: other words for the same.
- tables: every column within TABLE_NEAR of its standard deviation in train. Rounding and noise below that are seen.

Rows are looked up in a k-d tree over a few of their principal directions, which never makes a distance larger, and then
compared in full: time grows about as n log n. Of the nearest CANDIDATES rows only: where more lie as close in those
directions, one may be missed.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from pruneguard.evaluation.data_quality.lens import Lens, averaged, chunks, draw, principal
from pruneguard.evaluation.domain import kind_of
from pruneguard.evaluation.estimates import exact, share, unknown
from pruneguard.evidence import Estimate, Measurement
from pruneguard.workload import Floats, Integers, Snapshot

IMAGE_NEAR = 0.05
TABLE_NEAR = 0.02
SIDE = 8
DIRECTIONS = 12
CANDIDATES = 6
QUERIES_MAX = 20_000
"""Rows that are looked up; of more, so many are drawn."""

SHOWN = 20
_FLAT = 1e-4  # below this contrast, an image has no picture


@dataclass(frozen=True, slots=True)
class Nearness:
    """What is measured, and some pairs of row numbers: of gate or release, and the row of train that it is near."""

    measurements: dict[str, Measurement]
    pairs: dict[str, tuple[tuple[int, int], ...]]


def measure(snapshot: Snapshot, lens: Lens, names: dict[str, list[bytes]]) -> Nearness:
    """`data.near_duplicates` in train, `data.near_leakage` from train, `data.contamination` of release by gate.

    `names` are the fingerprints of each split's rows. Exact copies count as leakage and contamination; among near
    duplicates they do not, since `data.duplicates` counts them.
    """
    once = _first(names["train"])
    places = {name: _places(snapshot, lens, name) for name in snapshot.splits}
    train = _Tree(places["train"], _tolerance(snapshot, places["train"]))
    inner = _Tree(places["train"][once], train.tolerance).near(places["train"][once], own=True)
    leaks = {name: train.near(places[name]) for name in ("gate", "release")}
    seen = _Tree(places["gate"], train.tolerance).near(places["release"])
    return Nearness(
        {
            "data.near_duplicates": _share([inner]),
            "data.near_leakage": _share([*leaks.values()]),
            "data.contamination": _share([seen]),
        },
        {name: found.pairs for name, found in leaks.items()},
    )


@dataclass(frozen=True, slots=True)
class _Tolerance:
    """How far a near row may be: in one column at most, where `columns`, else altogether."""

    distance: float
    columns: bool

    def reach(self, width: int) -> float:
        return self.distance * math.sqrt(width) if self.columns else self.distance


@dataclass(frozen=True, slots=True)
class _Found:
    """Of `queried` rows of `rows`, those near another, with that one's number."""

    near: int
    queried: int
    rows: int
    pairs: tuple[tuple[int, int], ...]


class _Tree:
    def __init__(self, places: Floats, tolerance: _Tolerance) -> None:
        self.places, self.tolerance = places, tolerance
        self.centre = places.mean(axis=0) if len(places) else np.zeros(places.shape[1], np.float32)
        self.basis = principal(places - self.centre, DIRECTIONS)
        # Neither balanced nor compact: a column with one value for most rows would make building it quadratic.
        self.tree = cKDTree(self._seen(places), balanced_tree=False, compact_nodes=False) if len(places) else None

    def near(self, places: Floats, *, own: bool = False) -> _Found:
        """Which rows are near one of the tree's; with `own` they are the tree's, and near another than themselves."""
        numbers = draw(len(places), QUERIES_MAX)
        if not len(numbers) or self.tree is None:
            return _Found(0, len(numbers), len(places), ())
        queries = places[numbers]
        reach = 1.001 * self.tolerance.reach(places.shape[1]) + 1e-5
        _, found = self.tree.query(self._seen(queries), k=CANDIDATES, distance_upper_bound=reach)
        partner = np.full(len(numbers), -1)
        for candidate in found.T:
            open_ = (partner < 0) & (candidate < len(self.places))
            if own:
                open_ &= candidate != numbers
            which = np.flatnonzero(open_)
            close = self._close(queries[which], self.places[candidate[which]])
            partner[which[close]] = candidate[which[close]]
        hits = np.flatnonzero(partner >= 0)
        pairs = tuple((int(numbers[hit]), int(partner[hit])) for hit in hits[:SHOWN])
        return _Found(len(hits), len(numbers), len(places), pairs)

    def _seen(self, places: Floats) -> Floats:
        seen: Floats = (places - self.centre) @ self.basis.T
        return seen

    def _close(self, one: Floats, other: Floats) -> npt.NDArray[np.bool_]:
        difference = np.abs(one - other)
        size = difference.max(axis=1, initial=0) if self.tolerance.columns else np.sqrt((difference**2).sum(axis=1))
        return np.asarray(size <= self.tolerance.distance + 1e-6)


def _places(snapshot: Snapshot, lens: Lens, name: str) -> Floats:
    """The rows of a split as what is compared [n, columns]."""
    x = snapshot.splits[name].x
    compared = {"images": _picture, "text": _sorted, "table": lens.rows}[kind_of(snapshot)]
    return np.concatenate([compared(x[:0]), *(compared(rows) for rows in chunks(x))])


def _sorted(x: Floats) -> Floats:
    """The tokens of each row, in order of their numbers."""
    return np.sort(np.nan_to_num(x).reshape(len(x), int(np.prod(x.shape[1:]))), axis=1)


def _picture(x: Floats) -> Floats:
    """Images as small pictures without brightness and contrast [n, columns]; one without a picture is all 0."""
    pictures = averaged(np.nan_to_num(x), SIDE)
    pictures = pictures - pictures.mean(axis=1, keepdims=True)
    contrast = np.linalg.norm(pictures, axis=1, keepdims=True)
    return np.where(contrast > _FLAT, pictures / np.maximum(contrast, _FLAT), 0).astype(np.float32)


def _tolerance(snapshot: Snapshot, places: Floats) -> _Tolerance:
    match kind_of(snapshot):
        case "images":
            random = math.sqrt(2 * float(places.var(axis=0).sum())) if len(places) else 0.0
            return _Tolerance(IMAGE_NEAR * random, columns=False)
        case "text":
            return _Tolerance(0.0, columns=True)
        case _:
            return _Tolerance(TABLE_NEAR, columns=True)


def _first(names: list[bytes]) -> Integers:
    """Numbers of the rows that are the first of their fingerprint."""
    return np.fromiter({name: row for row, name in reversed(list(enumerate(names)))}.values(), np.int64)


def _share(found: list[_Found]) -> Estimate:
    """A share of rows; of drawn rows, with its interval."""
    near, queried, rows = (sum(getattr(each, part) for each in found) for part in ("near", "queried", "rows"))
    if not queried:
        return unknown(n=0)
    return share(near, queried, alpha=0.05) if queried < rows else exact(near / queried, n=queried)
