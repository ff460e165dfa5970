"""How well a score tells rows that belong to a class from rows that belong to none, and how much worse another does.

Scores are higher where a row looks familiar. Both models score the same rows, and a difference uses that.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pruneguard.evaluation.correctness.quality import paired
from pruneguard.evaluation.estimates import exact, share, unknown
from pruneguard.evaluation.resampling import Doubles, resamples
from pruneguard.evidence import Estimate
from pruneguard.statistics import tango_lower, tango_upper

KEPT = 0.95
"""Share of the inside rows that a threshold for the false positive rate lets in."""

_ALPHA = 0.05  # two-sided
_Z = 1.959963984540054


@dataclass(frozen=True, eq=False)
class Ranking:
    """One model's scores of rows `inside` and of rows `outside`; at least one of each."""

    inside: Doubles
    outside: Doubles

    @cached_property
    def finite(self) -> bool:
        return bool(np.isfinite(self.inside).all() and np.isfinite(self.outside).all())

    @cached_property
    def components(self) -> tuple[Doubles, Doubles]:
        """Of every inside row the share of outside rows that score lower (a tie counts half), and the reverse.

        These are the structural components of DeLong, DeLong & Clarke-Pearson 1988 (Biometrics 44, 837-845): their
        mean is the area under the curve, their covariances give its variance and that of a difference.
        """
        return _share_below(self.inside, self.outside), 1 - _share_below(self.outside, self.inside)

    @property
    def area(self) -> float:
        """The area under the receiver operating curve; NaN where a score is not finite."""
        return float(self.components[0].mean()) if self.finite else math.nan

    @property
    def n(self) -> int:
        return len(self.inside) + len(self.outside)

    def auroc(self) -> Estimate:
        """The area, 95 %: at each end the wider of DeLong's interval and Newcombe's.

        DeLong's has no width where every pair is ranked right, and too little shortly before that. Newcombe's
        (2006, Statistics in Medicine 25, 559-573, method 5) is a score interval: its variance is that of the end.
        """
        if not self.finite:
            return unknown(n=self.n)
        area, reach = self.area, _Z * math.sqrt(_covariance(self, self))
        low, high = newcombe(area, len(self.inside), len(self.outside))
        return Estimate(area, max(min(area - reach, low), 0.0), min(max(area + reach, high), 1.0), self.n)

    def auroc_minus(self, other: "Ranking") -> Estimate:
        """The difference of two areas on the same rows, 95 %, by DeLong's variance of it.

        Where one of the areas has no variance, as at 1, nothing is known of what the two share: then from the
        distances to the ends of each area's own interval (Zou & Donner 2008, Statistics in Medicine 27, 1693-1702).
        A model does not differ from itself.
        """
        if not (self.finite and other.finite):
            return unknown(n=self.n)
        if self is other:
            return exact(0.0, n=self.n)
        difference, own, others = self.area - other.area, _covariance(self, self), _covariance(other, other)
        if min(own, others) > 0:
            below = above = _Z * math.sqrt(max(own + others - 2 * _covariance(self, other), 0.0))
        else:
            ours, theirs = self.auroc(), other.auroc()
            below = math.hypot(_reach(ours, -1), _reach(theirs, 1))
            above = math.hypot(_reach(ours, 1), _reach(theirs, -1))
        return Estimate(difference, max(difference - below, -1.0), min(difference + above, 1.0), self.n)

    @property
    def admitted(self) -> npt.NDArray[np.bool_]:
        """Which outside rows pass for inside ones at the threshold that lets in `KEPT` of those."""
        threshold = np.sort(self.inside)[int(len(self.inside) * (1 - KEPT) + 1e-9)]
        marks: npt.NDArray[np.bool_] = self.outside >= threshold
        return marks

    def admitted_share(self, inside: Doubles, outside: Doubles) -> Doubles:
        """The share of outside rows that pass, for rows drawn as often as the weights [rows, k] of each kind say."""
        few = _near_threshold(len(self.inside))
        order, shunned = np.argsort(self.inside, kind="stable")[:few], np.argsort(self.outside, kind="stable")
        below = np.searchsorted(self.outside[shunned], self.inside[order], "left")
        passed = np.cumsum(inside[order], axis=0) > len(inside) * (1 - KEPT) + 1e-9
        kept_out = np.vstack([np.zeros(outside.shape[1]), np.cumsum(outside[shunned], axis=0)])
        shares: Doubles = 1 - kept_out[below[passed.argmax(axis=0)], np.arange(outside.shape[1])] / len(shunned)
        return shares


def newcombe(area: float, inside: int, outside: int) -> tuple[float, float]:
    """Newcombe's 95 % score interval for an area under the curve, from so many rows of each kind."""
    half = (inside + outside) / 2 - 1

    def end(limit: float) -> float:
        holding, beyond = area, limit
        for _ in range(60):  # halvings, down to neighbouring doubles
            truth = (holding + beyond) / 2
            spread = 1 + half * ((1 - truth) / (2 - truth) + truth / (1 + truth))
            within = (area - truth) ** 2 <= _Z**2 * truth * (1 - truth) * spread / (inside * outside)
            holding, beyond = (truth, beyond) if within else (holding, truth)
        return beyond

    return end(0.0), end(1.0)


def false_positives(rankings: Sequence[tuple[Ranking, Ranking]], *, seed: int) -> list[tuple[Estimate, ...]]:
    """For each pair of rankings of the same rows the share of outside rows that pass for inside ones at a threshold
    that lets in 95 % of those (FPR95): of the first, of the second, and the first minus the second.

    95 % intervals: at each end the wider of a bootstrap over rows of both kinds, which moves the threshold, and of
    what holds at the threshold as it is: Clopper-Pearson's for a share, Tango's for the difference. Resamples of
    rows without a mistake have none; the exact intervals know that more rows may.
    """
    first = rankings[0][0]
    drawn: list[list[tuple[Doubles, Doubles]]] = [[] for _ in rankings]
    known = [(one, other) if one.finite and other.finite else None for one, other in rankings]
    for inside, outside in zip(
        resamples(len(first.inside), seed=seed), resamples(len(first.outside), seed=seed + 1), strict=True
    ):
        for found, both in zip(drawn, known, strict=True):
            if both is not None:
                found.append((both[0].admitted_share(inside, outside), both[1].admitted_share(inside, outside)))
    return [
        (unknown(n=first.n),) * 3 if both is None else _rates(both[0], both[1], np.concatenate(found, axis=1))
        for found, both in zip(drawn, known, strict=True)
    ]


def _rates(one: Ranking, other: Ranking, drawn: Doubles) -> tuple[Estimate, ...]:
    def wider(estimate: Estimate, values: Doubles) -> Estimate:
        low, high = np.quantile(values, [_ALPHA / 2, 1 - _ALPHA / 2]).tolist()
        assert estimate.low is not None  # both kinds below have an interval
        assert estimate.high is not None
        return Estimate(estimate.value, min(low, estimate.low), max(high, estimate.high), one.n)

    rates = [share(int(each.admitted.sum()), len(each.outside), alpha=_ALPHA) for each in (one, other)]
    if one is other:
        difference = exact(0.0, n=one.n)
    else:
        table = paired(one.admitted, other.admitted)
        low, high = tango_lower(table, alpha=_ALPHA / 2), tango_upper(table, alpha=_ALPHA / 2)
        difference = wider(Estimate(table.difference, low, high), drawn[0] - drawn[1])
    return wider(rates[0], drawn[0]), wider(rates[1], drawn[1]), difference


def _near_threshold(rows: int) -> int:
    """How many of the least familiar inside rows can hold the threshold of a resample: twice its share, and 100.

    That a resample draws half as often as it should from so many rows is less likely than 1 in a million.
    """
    return min(rows, round(2 * (1 - KEPT) * rows) + 100)


def _share_below(scores: Doubles, others: Doubles) -> Doubles:
    ordered = np.sort(others)
    counted = np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")
    return counted / (2 * len(others))


def _covariance(one: Ranking, other: Ranking) -> float:
    """DeLong's estimate for two areas; of fewer than two rows nothing is known, and nothing is added."""
    parts = zip(one.components, other.components, strict=True)
    return sum(float(np.cov(a, b)[0, 1]) / len(a) for a, b in parts if len(a) > 1)


def _reach(estimate: Estimate, side: int) -> float:
    end = estimate.high if side > 0 else estimate.low
    assert end is not None  # an area that is known has an interval
    return abs(end - estimate.value)
