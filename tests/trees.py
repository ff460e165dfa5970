"""A whole tree in memory, hashed level by level: what the proofs and tiles of a log are compared with."""

from collections.abc import Sequence
from dataclasses import dataclass

from pruneguard.ledger.merkle import parents


@dataclass(frozen=True, slots=True)
class Levels:
    """Every perfect subtree over some leaves, level by level."""

    hashes: tuple[list[bytes], ...]

    def node(self, level: int, index: int) -> bytes:
        return self.hashes[level][index]


def levels(leaves: Sequence[bytes]) -> Levels:
    """Hash all that can be hashed over these leaf hashes."""
    rows = [list(leaves)]
    while len(row := rows[-1]) > 1:
        rows.append(parents(row))
    return Levels(tuple(rows))
