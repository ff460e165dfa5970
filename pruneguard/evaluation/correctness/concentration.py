"""Where the two models disagree: everywhere alike, or in a few groups that pay for the rest?

A row on which pruning changed the answer is a pruning-identified example (Hooker 2019, arXiv:1911.05248): there, one
where the most frequent answers of many dense and many pruned networks differ; with one of each, those are their
answers. Such rows over-index rare classes and the long tail of groups (Hooker 2020, arXiv:2010.03058).
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv

from pruneguard.evaluation.estimates import unknown
from pruneguard.evaluation.resampling import Doubles
from pruneguard.evidence import Estimate, Measurement
from pruneguard.workload import Integers

ROWS_MIN = 30
"""Rows below which a group is not looked at."""

Mask = npt.NDArray[np.bool_]


def measure(changed: Mask, groups: Iterable[tuple[str, Mask]], *, alpha: float) -> dict[str, Measurement]:
    """`quality.flips_concentration`, and below it that of each group: its share of the changes over its share of rows.

    1 is even, 2 twice as many changes as the group has rows. Which group a change falls into is a binomial draw, so
    the intervals are exact (Clopper-Pearson, for the groups' sizes as they are). The number without a slice is the
    largest one, its interval for all groups at once (Bonferroni). Where nothing changed it is 0, and how uneven the
    next changes could be is open: the upper end is that of a single group that takes all. Unknown where no group has
    `ROWS_MIN` rows.
    """
    name = "quality.flips_concentration"
    large = [(label, rows) for label, rows in groups if rows.sum() >= ROWS_MIN]
    if not large:
        return {name: unknown(n=len(changed))}
    sizes = np.array([rows.sum() for _, rows in large])
    inside = np.array([(changed & rows).sum() for _, rows in large])
    each = _ratios(inside, sizes, changes=int(changed.sum()), rows=len(changed), alpha=alpha)
    together = _ratios(inside, sizes, changes=int(changed.sum()), rows=len(changed), alpha=alpha / len(large))
    most = _estimate(together.max(axis=1), n=len(changed))
    return {
        name: most,
        **{
            f"{name}.slice.{label}": _estimate(ratio, n=int(size))
            for (label, _), ratio, size in zip(large, each.T, sizes, strict=True)
        },
    }


def _estimate(ratio: Doubles, *, n: int) -> Estimate:
    value, low, high = ratio.tolist()
    return Estimate(value, low, high, n)


def _ratios(inside: Integers, sizes: Integers, *, changes: int, rows: int, alpha: float) -> Doubles:
    """[3, groups]: share of the changes over share of the rows, and the two ends (`clopper_pearson`, all at once)."""
    share = inside / max(changes, 1)
    low = np.where(inside > 0, betaincinv(np.maximum(inside, 1), changes - inside + 1, alpha / 2), 0.0)
    high = np.where(inside < changes, betaincinv(inside + 1, np.maximum(changes - inside, 1), 1 - alpha / 2), 1.0)
    ratios: Doubles = np.stack([share, low, high]) * rows / sizes
    return ratios
