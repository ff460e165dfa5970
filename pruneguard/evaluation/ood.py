"""Does the model know what it does not know: are rows that belong to no class less confident than those that do?"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pruneguard.evaluation.contender import Pair
from pruneguard.evaluation.sessions import probabilities
from pruneguard.evidence import Estimate, Measurement
from pruneguard.workload import Floats

Scores = npt.NDArray[np.float64]
_Z = 1.959963984540054  # 95 %, two-sided


def measure(pair: Pair, inside: tuple[Floats, Floats], outliers: Floats | None) -> dict[str, Measurement]:
    """Everything named `ood.*`: `inside` are both models' logits (candidate first) on rows that belong to a class.

    Without outliers nothing is measured, and what is not measured never passes. `ood.auroc` scores by the largest
    probability (Hendrycks & Gimpel 2017, arXiv:1610.02136), `ood.energy_auroc` by log-sum-exp of the logits (Liu
    2020, arXiv:2010.03759).
    """
    if outliers is None or not len(outliers):
        return {}
    outside = pair.logits(outliers)
    measurements: dict[str, Measurement] = {}
    for prefix, score in (("", confidence), ("energy_", energy)):
        ours, theirs = (Ranking.of(score(a), score(b)) for a, b in zip(inside, outside, strict=True))
        measurements |= {
            f"ood.{prefix}auroc": ours.estimate(),
            f"ood.twin_{prefix}auroc": theirs.estimate(),
            f"ood.{prefix}auroc_drop": theirs.minus(ours),
        }
    return measurements


def confidence(logits: Floats) -> Scores:
    """Probability of the most likely class."""
    best: Scores = probabilities(logits).max(axis=1)
    return best


def energy(logits: Floats) -> Scores:
    """log(sum(exp(logits))): high where some class fits; NaN where a logit is not finite."""
    wide = logits.astype(np.float64)
    finite = np.asarray(np.isfinite(wide).all(axis=1))
    wide = np.where(finite[:, None], wide, 0.0)
    top = wide.max(axis=1)
    return np.where(finite, top + np.log(np.exp(wide - top[:, None]).sum(axis=1)), np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """How two groups of scores rank against each other.

    `inside` holds, for every inside row, the share of outside rows that score lower (a tie counts half); `outside`,
    for every outside row, the share of inside rows that score higher. These are the structural components of DeLong,
    DeLong & Clarke-Pearson 1988 (Biometrics 44, 837-845): their mean is the area under the curve, their variances
    give its variance, and their differences that of a difference on the same rows.
    """

    inside: Scores
    outside: Scores

    @classmethod
    def of(cls, inside: Scores, outside: Scores) -> "Ranking":
        if not np.isfinite(inside).all() or not np.isfinite(outside).all():
            return cls(np.full(len(inside), np.nan), np.full(len(outside), np.nan))
        return cls(_share_below(inside, outside), 1 - _share_below(outside, inside))

    @property
    def area(self) -> float:
        return float(self.inside.mean())

    def estimate(self) -> Estimate:
        """The area under the curve, 95 %."""
        return _interval(self.area, self.inside, self.outside, floor=0.0)

    def minus(self, other: "Ranking") -> Estimate:
        """Difference of two areas measured on the same rows, 95 %."""
        return _interval(self.area - other.area, self.inside - other.inside, self.outside - other.outside, floor=-1.0)


def _share_below(scores: Scores, others: Scores) -> Scores:
    ordered = np.sort(others)
    counted = np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")
    return counted / (2 * len(others))


def _interval(value: float, inside: Scores, outside: Scores, *, floor: float) -> Estimate:
    n = len(inside) + len(outside)
    if min(len(inside), len(outside)) < 2 or math.isnan(value):
        return Estimate(value, n=n)
    reach = _Z * math.sqrt(inside.var(ddof=1) / len(inside) + outside.var(ddof=1) / len(outside))
    return Estimate(value, max(value - reach, floor), min(value + reach, 1.0), n)
