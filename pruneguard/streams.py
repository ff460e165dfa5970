"""Two streams of yes and no that run side by side: does the new one say yes more often than the old one may?

Judged at any time and as often as one likes. Standard library only, so that an auditor decides it again from the
counts alone.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pruneguard.errors import InvalidInputError

LEVELS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9)
"""Rates between which the bets lie: every pair in which the new stream's is higher by more than the tolerance."""
LOG_MAX = 690.0  # exp of it is a float

_HALVINGS = 80


@dataclass(frozen=True, slots=True)
class Tally:
    """Blocks of `ratio` outcomes of the old stream and one of the new one, and how many of either were a yes."""

    ratio: int
    blocks: int = 0
    old: int = 0
    new: int = 0

    def __post_init__(self) -> None:
        if not (self.ratio > 0 and 0 <= self.old <= self.ratio * self.blocks and 0 <= self.new <= self.blocks):
            raise InvalidInputError(f"{self}: expected at most {self.ratio} of the old and 1 of the new in each block")


def evalue(tallies: Iterable[Tally], *, tolerance: float) -> float:
    """Evidence that the new stream says yes more often than the old one by more than `tolerance`; 1 speaks for nothing.

    H0: in each block, given all before it, the chance of a yes is on average higher by at most `tolerance`. Under H0
    this is a non-negative martingale's bound that starts at 1, so the chance that it ever reaches 1/alpha is at most
    alpha, at whatever time somebody looks (Ville). Each bet is a likelihood ratio between a pair of rates and the point
    of H0 nearest to it, by Kullback-Leibler divergence; that such a ratio has a mean of at most 1 under all of H0 is
    theorem 1 of Turner and Grünwald (2023), Statistics and Probability Letters 198, 109835, after Turner, Ly and
    Grünwald (2024), Journal of Statistical Planning and Inference 230, 106116. The value is the mean of all bets, in
    which only the counts matter. Tallies of other ratios multiply: another part of the same streams.

    >>> round(evalue([Tally(9, 50, old=4, new=1)], tolerance=0.01), 2) < 1
    True
    >>> evalue([Tally(9, 20, old=2, new=10)], tolerance=0.01) > 1_000
    True
    """
    found = list(tallies)
    bets = _bets(tolerance)
    if not bets:
        return 1.0  # a tolerance that no pair exceeds can never be shown to be exceeded
    logs = [sum(_log(tally, old, new, tolerance) for tally in found) for old, new in bets]
    top = max(logs)
    return math.exp(min(top + math.log(math.fsum(math.exp(one - top) for one in logs) / len(logs)), LOG_MAX))


@lru_cache(maxsize=64)
def _bets(tolerance: float) -> Sequence[tuple[float, float]]:
    if not 0 <= tolerance < 1:
        raise InvalidInputError(f"a tolerance of {tolerance:g}; expected a share from 0, below 1")
    return tuple((old, new) for old in LEVELS for new in LEVELS if new > old + tolerance)


def _log(tally: Tally, old: float, new: float, tolerance: float) -> float:
    """Logarithm of one bet's ratio on these counts."""
    near = _nearest(tally.ratio, old, new, tolerance)
    outcomes = tally.ratio * tally.blocks
    return (
        tally.old * math.log(old / near)
        + (outcomes - tally.old) * math.log((1 - old) / (1 - near))
        + tally.new * math.log(new / (near + tolerance))
        + (tally.blocks - tally.new) * math.log((1 - new) / (1 - near - tolerance))
    )


@lru_cache(maxsize=4096)
def _nearest(ratio: int, old: float, new: float, tolerance: float) -> float:
    """The old stream's rate in H0's point nearest to (old, new), which lies on its edge: the new one's is that and the
    tolerance. The divergence is convex on it, so its slope changes sign once.
    """
    low, high = old, new - tolerance
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        edge = middle + tolerance
        slope = ratio * (middle - old) / (middle * (1 - middle)) + (edge - new) / (edge * (1 - edge))
        low, high = (low, middle) if slope > 0 else (middle, high)
    return (low + high) / 2
