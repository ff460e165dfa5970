"""How far a row's features lie from those of training rows, as scores: higher is more familiar."""

import numpy as np

from pruneguard.evaluation.resampling import Doubles
from pruneguard.workload import Floats, Integers

NEIGHBOUR = 10
"""Which of the nearest training rows counts; fewer where there are not as many."""

_RIDGE = 1e-3
_CHUNK = 1024  # rows compared with the training rows at once


def mahalanobis(known: Floats, labels: Integers, rows: Floats) -> Doubles:
    """Minus the squared distance to the nearest class mean, in units of the covariance that the classes share.

    Lee 2018 (arXiv:1807.03888), on one layer. A thousandth of the mean variance is added to every direction: channels
    that pruning silenced have none. `known` are features [m, width] of training rows with `labels`.
    """
    if not np.isfinite(known).all():
        return np.full(len(rows), np.nan)
    wide = known.astype(np.float64)
    present, number = np.unique(labels, return_inverse=True)
    means = np.stack([wide[number == each].mean(axis=0) for each in range(len(present))])
    apart = wide - means[number]
    shared = apart.T @ apart / len(wide)
    ridge = _RIDGE * float(np.trace(shared)) / len(shared) or 1.0  # of features that never vary, any unit will do
    root = np.linalg.cholesky(shared + ridge * np.eye(len(shared)))
    whitened, centres = (np.linalg.solve(root, each.T.astype(np.float64)).T for each in (rows, means))
    squares = (whitened**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1) - 2 * whitened @ centres.T
    nearest: Doubles = -squares.min(axis=1)
    return nearest


def nearest_neighbour(known: Floats, rows: Floats) -> Doubles:
    """The cosine of the angle to the `NEIGHBOUR`-th nearest training row (Sun 2022, arXiv:2204.06507)."""
    towards, directions = _directions(known), _directions(rows)
    rank = min(NEIGHBOUR, len(known))
    cosines = [
        np.partition(directions[start : start + _CHUNK] @ towards.T, len(known) - rank, axis=1)[:, len(known) - rank]
        for start in range(0, len(rows), _CHUNK)
    ]
    return np.concatenate(cosines).astype(np.float64)


def _directions(features: Floats) -> Floats:
    """Rows of length 1; one without a direction stays zero, and is near to none."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    directions: Floats = np.divide(features, lengths, out=np.zeros_like(features), where=lengths != 0)
    return directions
