"""The Pareto front: what nothing else beats. Pure."""

import math
from collections.abc import Sequence


def front(costs: Sequence[Sequence[float]]) -> tuple[int, ...]:
    """Numbers of the points that no other point dominates, in their order. Less is better in every cost.

    A point dominates another when it is worse in nothing and better in something; equal points stand together. One
    with a cost that is not finite is never on the front, and dominates nothing.

    >>> front([(1, 3), (2, 2), (3, 1), (3, 3)])
    (0, 1, 2)
    """
    known = [number for number, cost in enumerate(costs) if all(map(math.isfinite, cost))]
    return tuple(one for one in known if not any(dominates(costs[other], costs[one]) for other in known))


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether `one` is worse in nothing and better in something.

    >>> dominates((1, 2), (1, 3)), dominates((1, 2), (1, 2))
    (True, False)
    """
    pairs = list(zip(one, other, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
