"""Does a stated confidence of 80 % mean right in 80 %? Expected calibration error and Brier score, both paired."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pruneguard.evaluation.estimates import unknown
from pruneguard.evaluation.sessions import probabilities
from pruneguard.evidence import Estimate, Measurement
from pruneguard.workload import Floats, Integers

BINS = 15
RESAMPLES = 2000
_CHUNK = 100  # resamples held in memory at once

_NAMES = ("ece", "twin_ece", "ece_increase", "brier", "brier_increase")

Doubles = npt.NDArray[np.float64]
Resample = npt.NDArray[np.int64]


def measure(candidate: Floats, twin: Floats, y: Integers, *, seed: int) -> dict[str, Measurement]:
    """Everything named `calibration.*`, from both models' logits [n, classes] on rows with the labels `y`.

    Intervals are 95 %, from one seeded bootstrap over rows that both models share. Chance alone gives every bin a gap,
    so a measured error is too high, by most where the model is well calibrated: the intervals of errors reach down
    by what a perfectly calibrated model with these confidences would show. That keeps them honest, and wide where
    rows are few; the Brier score has no such bias.
    """
    ours, theirs = probabilities(candidate), probabilities(twin)
    if not np.isfinite(ours).all() or not np.isfinite(theirs).all() or not len(y):
        return {f"calibration.{name}": unknown(n=len(y)) for name in _NAMES}
    gaps, twin_gaps = _Gaps(ours, y), _Gaps(theirs, y)
    scores, twin_scores = brier_scores(ours, y), brier_scores(theirs, y)
    drawn = [
        (gaps.error(rows), twin_gaps.error(rows), scores[rows].mean(axis=1), twin_scores[rows].mean(axis=1))
        for rows in _resamples(len(y), seed=seed)
    ]
    ece, twin_ece, brier, twin_brier = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    value, twin_value = ece_of(ours, y), ece_of(theirs, y)
    chance, twin_chance = gaps.chance(seed=seed), twin_gaps.chance(seed=seed)
    return {
        "calibration.ece": _centred(value, ece, down=chance, n=len(y), floor=0.0),
        "calibration.twin_ece": _centred(twin_value, twin_ece, down=twin_chance, n=len(y), floor=0.0),
        "calibration.ece_increase": _centred(
            value - twin_value, ece - twin_ece, down=chance, up=twin_chance, n=len(y), floor=-1.0
        ),
        "calibration.brier": _percentile(float(scores.mean()), brier, n=len(y)),
        "calibration.brier_increase": _percentile(
            float(scores.mean() - twin_scores.mean()), brier - twin_brier, n=len(y)
        ),
    }


def ece_of(p: Doubles, y: Integers) -> float:
    """Expected calibration error of the most likely class, in bins that hold equally many rows.

    sum over bins of |accuracy - mean confidence| * share of rows (Naeini 2015; equal-mass bins as in Nixon 2019,
    arXiv:1904.01685). With fewer rows than bins every row is a bin.
    """
    return float(_Gaps(p, y).error(np.arange(len(y))[None, :])[0])


def brier_scores(p: Doubles, y: Integers) -> Doubles:
    """Each row's squared distance from the one-hot label, in [0, 2] (Brier 1950); the score is their mean."""
    distances: Doubles = ((p - np.eye(p.shape[1])[y]) ** 2).sum(axis=1)
    return distances


class _Gaps:
    """Confidence minus correctness of every row, kept in the order of confidence."""

    def __init__(self, p: Doubles, y: Integers) -> None:
        confidence = p.max(axis=1)
        order = np.argsort(confidence, kind="stable")
        self._confidence = confidence[order]
        self._gap = self._confidence - (p.argmax(axis=1) == y)[order]
        self._rank = np.empty(len(y), dtype=np.int32)
        self._rank[order] = np.arange(len(y), dtype=np.int32)

    def error(self, rows: Resample) -> Doubles:
        """The error of each resample, a row of indices [resamples, n]."""
        return _error(self._gap[np.sort(self._rank[rows], axis=1)])

    def chance(self, *, seed: int) -> float:
        """The error that these confidences would show, on average, if every one of them were true."""
        right = np.random.default_rng(seed).random((_CHUNK, len(self._confidence))) < self._confidence
        return float(_error(self._confidence - right).mean())


def _error(ordered: Doubles) -> Doubles:
    """Calibration errors of gaps [resamples, n] in the order of confidence."""
    n = ordered.shape[1]
    edges = np.unique(np.arange(BINS) * n // BINS)
    errors: Doubles = np.abs(np.add.reduceat(ordered, edges, axis=1)).sum(axis=1) / n
    return errors


def _resamples(n: int, *, seed: int) -> Iterator[Resample]:
    rng = np.random.default_rng(seed)
    for _ in range(RESAMPLES // _CHUNK):
        yield rng.integers(n, size=(_CHUNK, n))


def _centred(value: float, drawn: Doubles, *, n: int, floor: float, down: float, up: float = 0.0) -> Estimate:
    """The scatter of the resamples around their own mean, laid around the value and widened by the possible bias."""
    below, above = np.quantile(drawn - drawn.mean(), [0.025, 0.975])
    return Estimate(value, max(value + float(below) - down, floor), min(value + float(above) + up, 1.0), n)


def _percentile(value: float, drawn: Doubles, *, n: int) -> Estimate:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(value, float(low), float(high), n)
