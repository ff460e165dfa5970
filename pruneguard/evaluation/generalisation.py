"""Did pruning and training again make the model remember its training rows more than its twin does?"""

import math

import numpy as np

from pruneguard.evaluation.contender import Pair
from pruneguard.evaluation.estimates import share, unknown
from pruneguard.evaluation.quality import paired
from pruneguard.evaluation.sessions import predictions
from pruneguard.evidence import Estimate, Measurement, PairedTable
from pruneguard.statistics import tango_lower, tango_upper
from pruneguard.workload import Floats, Split

ALPHA = 0.05
"""Two-sided level of a reported interval."""


def measure(
    pair: Pair, logits: tuple[Floats, Floats], split: Split, train: Split, *, seed: int
) -> dict[str, Measurement]:
    """`generalisation.gap`: accuracy on training rows minus accuracy on the rows of `split`, and by how much it is
    wider than the twin's; `logits` are both models' on the rows of `split`, the candidate's first.

    As many training rows as the split has are drawn by the seed: one pass for either model, the twin's once a search.
    """
    drawn = np.sort(np.random.default_rng(seed).permutation(len(train))[: len(split)])
    seen = train.taken(drawn)
    on_seen = [predictions(each) == seen.y for each in pair.logits(seen.x)]
    on_fresh = [predictions(each) == split.y for each in logits]
    gap, twin_gap = (
        minus(*(share(int(right.sum()), len(right), alpha=ALPHA) for right in both))
        for both in zip(on_seen, on_fresh, strict=True)
    )
    return {
        "generalisation.gap": gap,
        "generalisation.twin_gap": twin_gap,
        "generalisation.gap_increase": minus(_difference(paired(*on_seen)), _difference(paired(*on_fresh))),
    }


def minus(one: Estimate, other: Estimate) -> Estimate:
    """The difference of two estimates on rows of their own, from the distances to the ends of their intervals.

    Zou & Donner 2008 (Statistics in Medicine 27, 1693-1702): as true as the two intervals are, at any shape.
    """
    n = one.n + other.n
    if None in (one.low, one.high, other.low, other.high) or not math.isfinite(one.value - other.value):
        return unknown(n=n)
    difference = one.value - other.value
    below = math.hypot(one.value - (one.low or 0.0), (other.high or 0.0) - other.value)
    above = math.hypot((one.high or 0.0) - one.value, other.value - (other.low or 0.0))
    return Estimate(difference, difference - below, difference + above, n)


def _difference(table: PairedTable) -> Estimate:
    """Candidate's accuracy minus the twin's on the same rows, with Tango's interval."""
    low, high = (bound(table, alpha=ALPHA / 2) for bound in (tango_lower, tango_upper))
    return Estimate(table.difference, low, high, table.n)
