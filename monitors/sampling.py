"""Which requests the twin answers too: exactly one in every block, and rather the doubtful ones."""

import hashlib
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Generic, TypeVar

from pruneguard.errors import InvalidInputError

T = TypeVar("T")

WEIGHT_MAX = 2.0
"""No draw weighs more: half of the probability is spread evenly over the block."""


@dataclass(frozen=True, slots=True)
class Risk:
    """How likely the twin disagrees, by the margin between the two most probable classes of the pruned model.

    `risks[i]` holds below `margins[i]`, the last one from there on. Only ratios matter: a table that is wrong costs
    speed, never validity.

    >>> risk = Risk(margins=(0.5,), risks=(0.3, 0.1))
    >>> risk(0.2), risk(0.9)
    (0.3, 0.1)
    """

    margins: tuple[float, ...] = (0.1, 0.3, 0.6, 0.9)
    risks: tuple[float, ...] = (0.3, 0.15, 0.06, 0.02, 0.01)

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in pairwise(self.margins))
        falling = all(a >= b for a, b in pairwise(self.risks))
        if not (rising and falling and len(self.risks) == len(self.margins) + 1 and self.risks[-1] > 0):
            raise InvalidInputError(
                f"margins {self.margins} with risks {self.risks}; expected rising margins and one more risk, "
                "falling and above 0"
            )

    def __call__(self, margin: float) -> float:
        return self.risks[bisect_right(self.margins, margin)] if margin == margin else self.risks[0]  # NaN: doubtful


@dataclass(frozen=True, slots=True)
class Draw(Generic[T]):
    """The chosen item of a block. A signal times `weight` is an unbiased observation of the block's mean signal."""

    item: T
    probability: float
    weight: float


@dataclass(slots=True)
class BlockSampler(Generic[T]):
    """Draws one item out of every `size` offered, item i with probability 1/(2 size) + h_i / (2 sum h), h its risk.

    The budget is exact: traffic that shifts cannot overrun it. The draw depends on the seed, the block's number and
    the margins, never on what the twin says, so observations stay unbiased under any shift (importance sampling,
    kept defensive by its uniform half). The same seed and the same offers give the same draws.

    >>> sampler = BlockSampler(size=3, seed="release 1")
    >>> [draw.item for item in "abcdef" if (draw := sampler.offer(item, margin=0.5))]
    ['a', 'd']
    """

    size: int
    seed: str
    risk: Risk = field(default_factory=Risk)
    blocks: int = 0
    _open: list[tuple[T, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InvalidInputError(f"a block of {self.size}; expected at least one request")

    @property
    def pending(self) -> int:
        """Items in the open block: the last ones offered."""
        return len(self._open)

    def offer(self, item: T, margin: float) -> Draw[T] | None:
        """Add one item to the open block; the draw if that filled it."""
        self._open.append((item, self.risk(margin)))
        if len(self._open) < self.size:
            return None
        block, self._open = self._open, []
        self.blocks += 1
        return _draw(block, _uniform(f"{self.seed} {self.blocks}"))


def _draw(block: list[tuple[T, float]], u: float) -> Draw[T]:
    """The item whose share of the unit interval `u` falls into."""
    total = sum(risk for _, risk in block)
    shares = [1 / (2 * len(block)) + risk / (2 * total) for _, risk in block]
    chosen = min(bisect_right(list(accumulate(shares)), u), len(block) - 1)  # the shares may sum to 1 - 1e-16
    return Draw(block[chosen][0], shares[chosen], min(1 / (len(block) * shares[chosen]), WEIGHT_MAX))


def _uniform(seed: str) -> float:
    """A number in [0, 1) that the seed decides: whoever knows it can repeat every draw."""
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:6]) / 2**48
