"""Which rows are the same row: exact duplicates within a split and across splits."""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from pruneguard.workload import Floats


@dataclass(frozen=True, slots=True)
class Overlap:
    """How many rows of one split stand in another too, and one such pair of row numbers (one's, other's)."""

    rows: int
    example: tuple[int, int]


def fingerprints(x: Floats) -> list[bytes]:
    """One short name per row; equal rows have equal names. Labels do not count: same features, same row.

    >>> first, second, third = fingerprints(np.array([[0.0, 1.0], [-0.0, 1.0], [1.0, 0.0]], dtype=np.float32))
    >>> first == second, first == third
    (True, False)
    """
    flat = np.ascontiguousarray(x).reshape(len(x), int(np.prod(x.shape[1:])))
    # Adding zero turns -0.0, which equals 0.0 and differs in its bits, into 0.0.
    return [blake2b((row + np.float32(0)).tobytes(), digest_size=16).digest() for row in flat]


def overlap(one: list[bytes], other: list[bytes]) -> Overlap | None:
    """The rows of `one` that stand in `other`; None when there are none."""
    places = {name: row for row, name in reversed(list(enumerate(other)))}
    shared = [(row, places[name]) for row, name in enumerate(one) if name in places]
    return Overlap(len(shared), shared[0]) if shared else None
