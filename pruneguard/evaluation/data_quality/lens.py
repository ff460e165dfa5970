"""Rows as points: what neighbours, cheap models and comparisons of whole splits look at."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from sklearn.utils.extmath import randomized_svd

from pruneguard.evaluation.domain import kind_of
from pruneguard.workload import Floats, Integers, Kind, Snapshot, Split

SEED = 0
"""Of everything drawn here: the same data give the same evidence."""

ROWS_MAX = 10_000
"""Rows of train that are drawn for what compares rows with each other or trains a model on them."""

VALUES_MAX = 50_000_000
"""Values that those rows may hold together: of very wide rows fewer are drawn, but ROWS_MIN of them."""

ROWS_MIN = 500
COLUMNS_MAX = 2048
"""Wider rows are folded to so many columns: sums with random signs (Weinberger 2009, arXiv:0902.2206)."""

SIDE = 16
"""Images are averaged to so many pixels a side."""

POINT = 64
"""Coordinates of a point: the principal directions of the described rows."""

_CHUNK_VALUES = 8_000_000

Describe: TypeAlias = Callable[[Floats], Floats]


@dataclass(frozen=True, slots=True, eq=False)
class Lens:
    """How rows are turned into numbers of one scale, and those into points.

    Images are averaged to SIDE x SIDE pixels. Texts are counted by token. Tables and everything else are standardised
    column by column. A missing value becomes the column's mean.
    """

    describe: Describe
    mean: Floats
    scale: Floats
    basis: Floats

    @classmethod
    def of(cls, snapshot: Snapshot) -> "Lens":
        """Fitted on drawn rows of `train`, to which it gives somewhat larger points than to others."""
        return cls.fitted(snapshot.train.x[drawn(snapshot.train)], kind_of(snapshot))

    @classmethod
    def fitted(cls, x: Floats, kind: Kind) -> "Lens":
        """Fitted on these rows."""
        describe = _describing(kind, x.shape[1:])
        rows = describe(x)
        finite = np.isfinite(rows)
        count = np.maximum(finite.sum(axis=0), 1)
        mean = np.where(finite, rows, 0).sum(axis=0, dtype=np.float64) / count
        spread = np.sqrt((np.where(finite, rows - mean, 0) ** 2).sum(axis=0, dtype=np.float64) / count)
        if kind != "table":  # pixels and tokens share one scale; the rare ones do not get to shout
            spread = np.full_like(spread, np.sqrt((spread**2).mean()))
        scale = np.where(spread > 0, spread, 1)
        shown = _standardised(rows, mean, scale)
        return cls(describe, mean.astype(np.float32), scale.astype(np.float32), principal(shown, POINT))

    def rows(self, x: Floats) -> Floats:
        """The rows described and on one scale [n, columns], columns at most COLUMNS_MAX; never NaN."""
        return _standardised(self.describe(x), self.mean, self.scale)

    def points(self, x: Floats) -> Floats:
        """The rows in at most POINT coordinates."""
        points: Floats = self.rows(x) @ self.basis.T
        return points


def drawn(split: Split, most: int = ROWS_MAX) -> Integers:
    """Numbers of all rows of the split, or of so many as are worth comparing, drawn by SEED, in order."""
    width = max(int(np.prod(split.x.shape[1:])), 1)
    return draw(len(split), min(most, max(VALUES_MAX // width, ROWS_MIN)))


def draw(n: int, most: int) -> Integers:
    """Numbers of at most `most` of `n` rows, in order."""
    return np.sort(np.random.default_rng(SEED).permutation(n)[:most]).astype(np.int64)


def principal(rows: Floats, most: int) -> Floats:
    """At most `most` principal directions of the rows, which are centred [directions, columns]: orthonormal."""
    if not rows.size:
        return np.empty((0, rows.shape[1]), np.float32)
    seen = rows[draw(len(rows), 4000)]
    directions = randomized_svd(seen, n_components=min(most, *seen.shape), n_iter=3, random_state=SEED)[2]
    return np.ascontiguousarray(directions, dtype=np.float32)


def chunks(x: Floats) -> Iterator[Floats]:
    """The rows in order, so many at a time that no copy of them is large."""
    step = max(_CHUNK_VALUES // max(int(np.prod(x.shape[1:])), 1), 1)
    for start in range(0, len(x), step):
        yield x[start : start + step]


def _standardised(rows: Floats, mean: npt.NDArray[np.floating], scale: npt.NDArray[np.floating]) -> Floats:
    centred = (rows - mean) / scale
    return np.where(np.isfinite(centred), centred, 0).astype(np.float32)


def _describing(kind: Kind, shape: tuple[int, ...]) -> Describe:
    if kind == "images":
        return lambda x: _gathered(x, averaged)
    if kind == "text":
        return lambda x: _gathered(x, _counted)
    width = int(np.prod(shape))
    if width <= COLUMNS_MAX:
        return lambda x: x.reshape(len(x), width)
    fold = _fold(width)
    return lambda x: _gathered(x, lambda rows: np.nan_to_num(rows.reshape(len(rows), width)) @ fold)


def _gathered(x: Floats, describe: Describe) -> Floats:
    parts = [describe(rows) for rows in chunks(x)]
    return np.concatenate(parts).astype(np.float32, copy=False) if parts else describe(x)


def averaged(x: Floats, side: int = SIDE) -> Floats:
    """Images [n, channels, height, width] as rows of averages over a grid of at most `side` x `side` fields."""
    for axis in (2, 3):
        size = x.shape[axis]
        edges = np.linspace(0, size, min(size, side) + 1).astype(np.int64)
        counts = np.diff(edges).reshape([-1 if each == axis else 1 for each in range(4)])
        x = (np.add.reduceat(x, edges[:-1], axis=axis) / counts).astype(np.float32)
    return x.reshape(len(x), int(np.prod(x.shape[1:])))


def _counted(x: Floats) -> Floats:
    """How often each token stands in each row; tokens beyond COLUMNS_MAX share columns."""
    tokens = np.nan_to_num(x).reshape(len(x), int(np.prod(x.shape[1:]))).astype(np.int64) % COLUMNS_MAX
    counts = np.zeros((len(x), COLUMNS_MAX), np.float32)
    np.add.at(counts, (np.arange(len(x))[:, None], tokens), 1)
    return counts


def _fold(width: int) -> csr_array:
    rng = np.random.default_rng(SEED)
    signs = rng.choice(np.array([-1, 1], np.float32), size=width)
    return csr_array((signs, (np.arange(width), rng.integers(COLUMNS_MAX, size=width))), shape=(width, COLUMNS_MAX))
