"""What other rows might have said: one seeded bootstrap over the rows that two models both answered.

A resample is how often each row was drawn (Efron & Tibshirani 1993, chapter 6). Both models are given the same
resamples, so that a difference keeps what they have in common; a statistic that is a sum over rows is one product.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from pruneguard.evaluation.estimates import unknown
from pruneguard.evidence import Estimate, Measurement

RESAMPLES = 2000
_CHUNK = 100  # resamples held in memory at once

Doubles: TypeAlias = npt.NDArray[np.float64]

Statistic: TypeAlias = Callable[[Doubles], Doubles]
"""From how often each row was drawn, [n, resamples], to one number for each resample."""


@dataclass(frozen=True, slots=True, eq=False)
class Resampled:
    """A statistic of `n` rows, and of each resample of them."""

    value: float
    drawn: Doubles
    n: int

    def minus(self, other: "Resampled") -> "Resampled":
        """The difference, resample by resample; `other` was measured on the same ones."""
        return Resampled(self.value - other.value, self.drawn - other.drawn, self.n)

    def estimate(self, *, low: float = -math.inf, high: float = math.inf, least: float = 0.0) -> Estimate:
        """With the 95 % percentile interval, between `low` and `high`; unknown where any of it is not a number.

        It reaches at least `least` to each side of the value: resamples hold no error that the rows do not hold.
        """
        below, above = np.quantile(self.drawn, [0.025, 0.975]).tolist()
        return self._within(max(min(below, self.value - least), low), min(max(above, self.value + least), high))

    def centred(self, *, low: float, high: float, down: float = 0.0, up: float = 0.0) -> Estimate:
        """With the scatter of the resamples around their own mean laid around the value: for a biased statistic.

        `down` and `up` widen the interval by what the bias may be; it ends at `low` and `high`.
        """
        below, above = np.quantile(self.drawn - self.drawn.mean(), [0.025, 0.975]).tolist()
        return self._within(max(self.value + below - down, low), min(self.value + above + up, high))

    def _within(self, low: float, high: float) -> Estimate:
        if not (math.isfinite(self.value) and np.isfinite(self.drawn).all()):
            return unknown(n=self.n)
        return Estimate(self.value, min(low, self.value), max(high, self.value), self.n)


def resampled(statistics: Mapping[str, Statistic], *, n: int, seed: int) -> dict[str, Resampled]:
    """Each statistic of the `n` rows as they are, and of the same resamples of them; `n` is at least 1."""
    drawn: dict[str, list[Doubles]] = {name: [] for name in statistics}
    for weights in resamples(n, seed=seed):
        for name, statistic in statistics.items():
            drawn[name].append(statistic(weights))
    whole = np.ones((n, 1))
    return {
        name: Resampled(float(statistic(whole)[0]), np.concatenate(drawn[name]), n)
        for name, statistic in statistics.items()
    }


def resamples(n: int, *, seed: int) -> Iterator[Doubles]:
    """How often each of `n` rows was drawn, [n, resamples], a chunk of resamples at a time."""
    rng = np.random.default_rng(seed)
    for _ in range(RESAMPLES // _CHUNK):
        weights = np.empty((n, _CHUNK))
        for resample, drawn in enumerate(rng.integers(n, size=(_CHUNK, n), dtype=np.int32)):
            weights[:, resample] = np.bincount(drawn, minlength=n)
        yield weights


def mean(values: Doubles) -> Statistic:
    """The mean over rows of one number for each."""
    return lambda weights: values @ weights / len(values)


def compared(
    name: str,
    ours: Resampled,
    theirs: Resampled,
    *,
    worse: Literal["increase", "drop"],
    most: float = math.inf,
    least: float = 0.0,
) -> dict[str, Measurement]:
    """`name` of the candidate, `twin_` of the twin, and by how much the candidate's is worse.

    A number that is better when small becomes worse by an increase, one that is better when large by a drop. It lies
    between 0 and `most`; `least` is as in `Resampled.estimate`.
    """
    family, _, own = name.rpartition(".")
    change = ours.minus(theirs) if worse == "increase" else theirs.minus(ours)
    return {
        name: ours.estimate(low=0.0, high=most, least=least),
        f"{family}.twin_{own}": theirs.estimate(low=0.0, high=most, least=least),
        f"{name}_{worse}": change.estimate(low=-most, high=most, least=least),
    }
