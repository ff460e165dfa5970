"""A log of a few leaves, honest or forked, and what a witness is asked about it."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pruneguard.ledger import merkle, notes
from pruneguard.witness.protocol import Request
from tests import trees

NAME = "log.example/tiny"


class TinyLog:
    """Leaves 0..size-1; from leaf `forked_at` on they are other ones."""

    def __init__(self, size: int = 40, *, name: str = NAME, forked_at: int | None = None) -> None:
        self.name, self.key = name, Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
        self.verifier = notes.verifier_of(name, self.key)
        turn = size if forked_at is None else forked_at
        self._levels = trees.levels([merkle.leaf_hash(b"%d %d" % (at, at >= turn)) for at in range(size)])

    def root(self, size: int) -> bytes:
        return merkle.Frontier.read(size, self._levels.node).root()

    def checkpoint(self, size: int) -> notes.Checkpoint:
        return notes.Checkpoint(self.name, size, self.root(size))

    def note(self, size: int) -> bytes:
        return self.checkpoint(size).sign(self.key)

    def proof(self, old: int, new: int) -> tuple[bytes, ...]:
        return tuple(merkle.consistency(old, new, self._levels.node)) if old else ()

    def request(self, old: int, new: int) -> Request:
        return Request(old, self.proof(old, new), self.note(new))


def key(seed: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
