"""What can be promised about live traffic without a single label."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from monitors.sampling import WEIGHT_MAX

_BETS = tuple(0.95 / WEIGHT_MAX / (1 << k) for k in range(10))


@dataclass(slots=True)
class LossBound:
    """Upper bound on the accuracy lost to pruning over all requests so far.

    Where the pruned model is right and the twin wrong, or the other way round, the two disagree; so the accuracy lost
    is at most the share of requests with another answer. That share is the mean, over blocks, of what the sampled
    observation `z` in [0, 2] estimates without bias, and the empirical Bernstein inequality for averages of
    conditional means bounds it at all times at once (Howard et al. 2021, Annals of Statistics 49:1055, theorem 4; a
    union over ten fixed bets). It covers the blocks in which the twin answered, and says nothing about the twin's
    own accuracy.

    >>> bound = LossBound()
    >>> for _ in range(2_000): bound.update(0.0)
    >>> round(bound.upper(alpha=0.01), 4)
    0.0073
    """

    n: int = 0
    total: float = 0.0
    variance: float = 0.0
    """Sum of squared distances of each observation from the mean of those before it."""

    def update(self, z: float) -> None:
        before = self.total / self.n if self.n else 0.0
        self.variance += (z - before) ** 2
        self.total += z
        self.n += 1

    def upper(self, *, alpha: float) -> float:
        """The bound that holds, at all times together, with probability 1 - alpha; 1 while nothing is known."""
        if not self.n:
            return 1.0
        price = math.log(len(_BETS) / alpha)
        slack = min((price + _psi(bet) * self.variance) / bet for bet in _BETS)
        return min(1.0, (self.total + slack) / self.n)

    def to_document(self) -> dict[str, Any]:
        return {"n": self.n, "total": self.total, "variance": self.variance}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "LossBound":
        return cls(document["n"], float(document["total"]), float(document["variance"]))


def _psi(bet: float) -> float:
    """Cumulant of the exponential distribution at the signal's range, which prices the variance."""
    reach = bet * WEIGHT_MAX
    return (-math.log1p(-reach) - reach) / (WEIGHT_MAX * WEIGHT_MAX)
