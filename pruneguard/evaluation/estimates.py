"""Ways to state a number with its interval."""

import math

from pruneguard.evidence import Estimate, PairedTable
from pruneguard.statistics import clopper_pearson, tango_lower, tango_upper


def share(k: int, n: int, *, alpha: float) -> Estimate:
    """`k` of `n` rows with its exact two-sided interval at level `alpha`; NaN without rows."""
    low, high = clopper_pearson(k, n, alpha=alpha)
    return Estimate(k / n if n else math.nan, low, high, n)


def difference(table: PairedTable, *, alpha: float) -> Estimate:
    """The candidate's share of right rows minus the twin's, with Tango's two-sided interval at level `alpha`."""
    low, high = (bound(table, alpha=alpha / 2) for bound in (tango_lower, tango_upper))
    return Estimate(table.difference, low, high, table.n)


def minus(one: Estimate, other: Estimate) -> Estimate:
    """The difference of two estimates on rows of their own, from the distances to the ends of their intervals.

    Zou & Donner 2008 (Statistics in Medicine 27, 1693-1702): as true as the two intervals are, at any shape.
    """
    n = one.n + other.n
    if None in (one.low, one.high, other.low, other.high) or not math.isfinite(one.value - other.value):
        return unknown(n=n)
    value = one.value - other.value
    below = math.hypot(one.value - (one.low or 0.0), (other.high or 0.0) - other.value)
    above = math.hypot((one.high or 0.0) - one.value, other.value - (other.low or 0.0))
    return Estimate(value, value - below, value + above, n)


def exact(value: float, *, n: int, unit: str = "1") -> Estimate:
    """A number that was counted, not sampled: both ends of its interval are the number itself."""
    return Estimate(value, value, value, n, unit)


def unknown(*, n: int) -> Estimate:
    """What came out as no number, on `n` rows; no gate passes it."""
    return Estimate(math.nan, n=n)
