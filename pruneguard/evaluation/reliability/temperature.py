"""By how much a model's logits would have to be divided to be as sure as it is right (Guo 2017, arXiv:1706.04599)."""

import numpy as np

from pruneguard.evaluation.resampling import Doubles, Statistic
from pruneguard.workload import Floats, Integers

TEMPERATURE_MAX = 20.0
"""The largest and, inverted, the smallest temperature that is looked for."""

_TOLERANCE = 1e-10


def temperature(logits: Floats, y: Integers) -> Statistic:
    """The temperature that makes the labels most likely: above 1 for a model that is too sure.

    The fit is convex in the inverse temperature, so it is made once; a resample's is one step of Newton's from there.
    NaN where none is best within the bounds: rows that are all answered right only ever ask for more certainty.
    """
    inverse = _fitted(logits, y)
    slope, curvature = _derivatives(logits, y, inverse)

    def statistic(weights: Doubles) -> Doubles:
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = inverse - (slope @ weights) / (curvature @ weights)
        return 1 / np.clip(moved, 1 / TEMPERATURE_MAX, TEMPERATURE_MAX)

    return statistic


def _fitted(logits: Floats, y: Integers) -> float:
    """The inverse temperature where the likelihood's slope is zero: Newton's steps, halvings where they leave."""
    low, high, inverse = 1 / TEMPERATURE_MAX, TEMPERATURE_MAX, 1.0
    if not _slope(logits, y, low) < 0 < _slope(logits, y, high):
        return float("nan")
    while high - low > _TOLERANCE * high:
        slope, curvature = (float(each.mean()) for each in _derivatives(logits, y, inverse))
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        step = slope / curvature if curvature > 0 else np.inf
        if abs(step) < _TOLERANCE * inverse:
            break
        inverse = inverse - step if low < inverse - step < high else (low + high) / 2
    return inverse


def _slope(logits: Floats, y: Integers, inverse: float) -> float:
    return float(_derivatives(logits, y, inverse)[0].mean())


def _derivatives(logits: Floats, y: Integers, inverse: float) -> tuple[Doubles, Doubles]:
    """First and second derivative of each row's negative log-likelihood by the inverse temperature."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    odds = np.exp(inverse * wide)
    p = odds / odds.sum(axis=1, keepdims=True)
    expected = (p * wide).sum(axis=1)
    return expected - wide[np.arange(len(y)), y], (p * wide**2).sum(axis=1) - expected**2
