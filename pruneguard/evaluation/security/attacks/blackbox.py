"""Square Attack: a random search that sees logits only, so it can be turned on the very file that is deployed."""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pruneguard.evaluation.domain import Domain
from pruneguard.evaluation.security.attacks.whitebox import EPSILON, UNIT
from pruneguard.workload import Floats, Integers

QUERIES = 200

_HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
"""Shares of the queries after which the patches become half as large (section 5 of the paper)."""

_LARGEST = 0.8

Answers: TypeAlias = Callable[[Floats], Floats]
"""Rows [n, ...] in, logits [n, classes] out: `Session.logits`, or any other model."""


def square(
    model: Answers,
    x: Floats,
    y: Integers,
    domain: Domain = UNIT,
    *,
    epsilon: float = EPSILON,
    steps: int = QUERIES,
    seed: int = 0,
) -> Floats:
    """Square Attack in the maximum norm (Andriushchenko 2020, arXiv:1912.00049): `steps` queries per row at most.

    Images are changed in vertical stripes and then in squares, all else in random sets of features; always to the
    ball's surface, and kept where the row's margin shrinks. A row that has fallen is not asked about again. Logits
    that are not finite are no answer: the row has fallen.
    """
    rng = np.random.default_rng(seed)
    reach: Floats = np.broadcast_to(np.float32(epsilon) * domain.spread, x.shape[1:]).astype(np.float32)
    best, worst = x.copy(), _margins(model(x), y)
    for query in range(1, steps):
        alive = np.flatnonzero(worst <= 0)
        if not len(alive):
            break
        shape = (len(alive), *x.shape[1:])
        where, sign = _start(rng, shape) if query == 1 else _patches(rng, shape, share=_share(query / steps))
        moved: Floats = x[alive] + reach * sign
        tried = np.where(where, domain.clip(moved), best[alive])
        margins = _margins(model(tried), y[alive])
        better = margins > worst[alive]
        best[alive[better]], worst[alive[better]] = tried[better], margins[better]
    return best


def _start(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[npt.NDArray[np.bool_], Floats]:
    stripes = (*shape[:2], 1, shape[3]) if len(shape) == 4 else shape
    return np.ones(1, dtype=np.bool_), _signs(rng, stripes)


def _patches(rng: np.random.Generator, shape: tuple[int, ...], *, share: float) -> tuple[npt.NDArray[np.bool_], Floats]:
    """For every row which features change, and the signs of the change; both broadcast against rows of `shape`."""
    if len(shape) != 4:
        where = rng.random(shape) < share
        flat = where.reshape(shape[0], -1)
        flat[np.arange(len(flat)), rng.integers(flat.shape[1], size=len(flat))] = True  # one at least
        return where, _signs(rng, shape)
    n, channels, height, width = shape
    side = min(max(round(math.sqrt(share * height * width)), 1), height, width)
    rows, columns = (_runs(rng.integers(size - side + 1, size=n), side=side, size=size) for size in (height, width))
    return rows[:, None, :, None] & columns[:, None, None, :], _signs(rng, (n, channels, 1, 1))


def _runs(starts: Integers, *, side: int, size: int) -> npt.NDArray[np.bool_]:
    """By row, true from its start on for `side` places of `size`."""
    place: npt.NDArray[np.int64] = np.arange(size) - starts[:, None]
    return (place >= 0) & (place < side)


def _share(done: float) -> float:
    return _LARGEST * 0.5 ** sum(done > threshold for threshold in _HALVINGS)


def _signs(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return (2 * rng.integers(2, size=shape) - 1).astype(np.float32)


def _margins(logits: Floats, y: Integers) -> Floats:
    """Best wrong logit minus the right one, by row: above zero the model is fooled, and without an answer too."""
    rows = np.arange(len(y))
    others = logits.copy()
    others[rows, y] = -np.inf
    with np.errstate(invalid="ignore"):
        margins: Floats = others.max(axis=1) - logits[rows, y]
    return np.where(np.isfinite(logits).all(axis=1), margins, np.float32(np.inf))
