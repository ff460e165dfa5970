"""Does a stated confidence of 80 % mean right in 80 %? Errors in bins, Brier score, the temperature that is needed.

No pass of its own: everything follows from logits that exist.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from pruneguard.evaluation.estimates import share, unknown
from pruneguard.evaluation.reliability.temperature import temperature
from pruneguard.evaluation.resampling import Doubles, Resampled, compared, mean, resampled
from pruneguard.evaluation.sessions import probabilities
from pruneguard.evidence import Estimate, Measurement
from pruneguard.workload import Floats, Integers

BINS = 15
STATED_MIN = 0.01
"""Probabilities up to here are left out of the class-wise error: with many classes they are most of them and say 0."""

STATEMENTS_MIN = 30
"""A bin of the class-wise error holds at least as many, where its class has them."""

_SCORES = ("ece", "ace", "brier", "temperature")


def measure(candidate: Floats, twin: Floats, y: Integers, *, seed: int) -> dict[str, Measurement]:
    """Everything named `calibration.*`, from both models' logits [n, classes] on rows with the labels `y`.

    Of every score the candidate's, the twin's and the increase, with 95 % intervals from one seeded bootstrap over
    rows that both models share. Chance alone gives every bin a gap, so a measured error is too high, by most where
    the model is well calibrated: the intervals of errors reach down by what a perfectly calibrated model with these
    confidences would show. That keeps them honest, and wide where rows are few; the Brier score has no such bias.

    `calibration.reliability.slice.confidence=0.9731` and `calibration.twin_reliability...` are the curve: the share
    of right answers, exact 95 %, in each of the bins of `calibration.ece`, which is named by its mean confidence.
    """
    p, q = probabilities(candidate), probabilities(twin)
    if not np.isfinite(p).all() or not np.isfinite(q).all() or not len(y):
        names = (f"calibration.{name}" for score in _SCORES for name in (score, f"twin_{score}", f"{score}_increase"))
        return {name: unknown(n=len(y)) for name in names}
    top, twin_top, stated, twin_stated = best(p, y), best(q, y), every(p, y), every(q, y)
    found = resampled(
        {
            "ece": top.error,
            "twin_ece": twin_top.error,
            "ace": stated.error,
            "twin_ace": twin_stated.error,
            "brier": mean(brier_scores(p, y)),
            "twin_brier": mean(brier_scores(q, y)),
            "temperature": temperature(candidate, y),
            "twin_temperature": temperature(twin, y),
        },
        n=len(y),
        seed=seed,
    )
    return {
        **_errors("ece", found, chance=top.chance, twin_chance=twin_top.chance),
        **_errors("ace", found, chance=stated.chance, twin_chance=twin_stated.chance),
        **compared("calibration.brier", found["brier"], found["twin_brier"], worse="increase", most=2.0),
        **compared("calibration.temperature", found["temperature"], found["twin_temperature"], worse="increase"),
        **{f"calibration.reliability.slice.{bin_}": point for bin_, point in top.curve()},
        **{f"calibration.twin_reliability.slice.{bin_}": point for bin_, point in twin_top.curve()},
    }


def brier_scores(p: Doubles, y: Integers) -> Doubles:
    """Each row's squared distance from the one-hot label, in [0, 2] (Brier 1950); the score is their mean."""
    distances: Doubles = ((p - np.eye(p.shape[1])[y]) ** 2).sum(axis=1)
    return distances


@dataclass(frozen=True, slots=True, eq=False)
class Statements:
    """Probabilities that were stated, each about one row, and what came of them; `bins` number from 0."""

    stated: Doubles
    came_true: npt.NDArray[np.bool_]
    row: Integers
    bins: Integers
    n: int

    def error(self, weights: Doubles) -> Doubles:
        """Mean gap between what bins state and what comes true, for rows drawn as often as `weights` [n, k] say."""
        shape = (int(self.bins.max(initial=0)) + 1, self.n)
        gaps = csr_array((self.stated - self.came_true, (self.bins, self.row)), shape=shape) @ weights
        errors: Doubles = np.abs(gaps).sum(axis=0) / max(len(self.stated), 1)
        return errors

    @property
    def chance(self) -> float:
        """About the error that these statements would show on average if every one of them were true.

        What a bin's count is off by is taken for normal. That is too much where next to nothing can go wrong.
        """
        spread = np.sqrt(np.bincount(self.bins, self.stated * (1 - self.stated)))
        return float(math.sqrt(2 / math.pi) * spread.sum() / max(len(self.stated), 1))

    def curve(self) -> Iterator[tuple[str, Estimate]]:
        """`confidence=0.9731`, the mean of a bin, and how much of it came true; bins that would read alike are one."""
        heights = np.bincount(self.bins, self.stated) / np.bincount(self.bins)
        read = np.array([f"confidence={height:.4f}" for height in heights])[self.bins]
        for label in np.unique(read):
            inside = self.came_true[read == label]
            yield str(label), share(int(inside.sum()), len(inside), alpha=0.05)


def best(p: Doubles, y: Integers) -> Statements:
    """What is said about the most likely class, in bins that hold equally many rows: their error is the ECE.

    sum over bins of |accuracy - mean confidence| * share of rows (Naeini 2015; equal-mass bins as in Nixon 2019,
    arXiv:1904.01685). With fewer rows than bins every row is a bin.
    """
    confidence = p.max(axis=1)
    rows = np.arange(len(y))
    return Statements(confidence, p.argmax(axis=1) == y, rows, _equal_mass(confidence, BINS), len(y))


def every(p: Doubles, y: Integers) -> Statements:
    """What is said about any class above `STATED_MIN`, class by class in bins of equal mass: their error is the ACE.

    The thresholded adaptive calibration error of Nixon 2019 (arXiv:1904.01685), a bin weighing what it holds. It
    sees what the ECE cannot: probabilities of the classes that were not chosen, and errors that cancel over classes.
    """
    row, about = np.nonzero(p > STATED_MIN)
    stated = p[row, about]
    bins, used = np.zeros(len(row), dtype=np.int64), 0
    for label in range(p.shape[1]):
        own = np.flatnonzero(about == label)
        bins[own] = used + _equal_mass(stated[own], min(BINS, max(1, len(own) // STATEMENTS_MIN)))
        used = int(bins[own].max(initial=used - 1)) + 1
    return Statements(stated, y[row] == about, row, bins, len(y))


def _equal_mass(values: Doubles, wanted: int) -> Integers:
    """The bin of each value, `wanted` bins of equally many in the order of size; each its own where they are fewer."""
    edges = np.unique(np.arange(wanted) * len(values) // wanted)
    bins = np.empty(len(values), dtype=np.int64)
    bins[np.argsort(values, kind="stable")] = np.searchsorted(edges, np.arange(len(values)), side="right") - 1
    return bins


def _errors(name: str, found: Mapping[str, Resampled], *, chance: float, twin_chance: float) -> dict[str, Measurement]:
    ours, theirs = found[name], found[f"twin_{name}"]
    return {
        f"calibration.{name}": ours.centred(low=0.0, high=1.0, down=chance),
        f"calibration.twin_{name}": theirs.centred(low=0.0, high=1.0, down=twin_chance),
        f"calibration.{name}_increase": ours.minus(theirs).centred(low=-1.0, high=1.0, down=chance, up=twin_chance),
    }
