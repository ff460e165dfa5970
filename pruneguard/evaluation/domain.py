"""What a disturbance must know about the rows it disturbs: their limits, and how large a change is large."""

from dataclasses import dataclass

import numpy as np

from pruneguard.workload import Floats, Snapshot

TABLE_SPREAD = 4
"""Standard deviations that count as a table feature's range: about 95 % of a normal feature."""


@dataclass(frozen=True, slots=True, eq=False)
class Domain:
    """Where rows live.

    `spread` is the unit in which noise and attacks are stated, and broadcasts against rows: for images [n, channels,
    height, width] the width of the bounds, for everything else four standard deviations of each feature in `train`,
    since one pair of bounds says nothing about features of different scales. `mean` is each feature's, in `train`.
    """

    low: float
    high: float
    images: bool
    mean: Floats
    spread: Floats

    @classmethod
    def of(cls, snapshot: Snapshot) -> "Domain":
        x = snapshot.train.x
        low, high = snapshot.bounds
        images = x.ndim == 4
        spread = np.float32(high - low) if images else TABLE_SPREAD * x.std(axis=0, dtype=np.float64)
        return cls(
            low=low,
            high=high,
            images=images,
            mean=x.mean(axis=0, dtype=np.float64).astype(np.float32),
            spread=np.asarray(spread, dtype=np.float32),
        )

    def clip(self, x: Floats) -> Floats:
        """The rows moved inside the bounds, as float32."""
        return np.clip(x, self.low, self.high).astype(np.float32, copy=False)
