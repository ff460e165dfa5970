"""One entry of the log, proven on the spot: whose signature it carries, and that the signed tree holds these bytes."""

from dataclasses import dataclass

from pruneguard.errors import IntegrityError, InvalidInputError
from pruneguard.ledger import merkle, notes, rules, tiles
from pruneguard.ledger.events import Entry
from pruneguard.ledger.ledger import Ledger
from pruneguard.ledger.state import State


@dataclass(frozen=True, slots=True)
class Proof:
    """An inclusion proof that was checked: `included` says how it came out."""

    index: int
    raw: bytes
    size: int
    leaf: bytes
    root: bytes
    hashes: tuple[bytes, ...]
    included: bool
    file: bytes
    """The C2SP .tlog-proof file, for checking with another program."""


def prove(ledger: Ledger, index: int) -> Proof:
    """Read entry, proof and checkpoint as stored now and check them against each other.

    Raises PruneGuardError when there is no such entry, or no checkpoint that the ledger's key signed.
    """
    file = ledger.proof(index)
    proof = tiles.Proof.decode(file)
    checkpoint = notes.open_checkpoint(proof.checkpoint, ledger.verifier)
    stored = ledger.raw(index, index + 1)
    if not stored:
        raise IntegrityError(f"entry {index} is missing although the signed checkpoint covers it; restore a backup")
    if not stored[0]:
        raise InvalidInputError(f"retention dropped the body of entry {index}; there is nothing left to prove")
    leaf = merkle.leaf_hash(stored[0])
    included = merkle.verify_inclusion(
        index=index, size=checkpoint.size, leaf=leaf, proof=proof.hashes, root=checkpoint.root
    )
    return Proof(index, stored[0], checkpoint.size, leaf, checkpoint.root, proof.hashes, included, file)


def signature(state: State, entry: Entry) -> tuple[bool | None, str]:
    """Whether a person's signature stands (None: there is none), and what that means in words."""
    actor = entry.event.actor
    if entry.envelope is None:
        made = "the service itself" if actor == rules.MONITOR else f"the service in {actor}'s name, without their key"
        return None, f"Unsigned: written by {made}. The log's checkpoint covers it."
    theirs = [key for key, owner in state.keys.items() if owner == actor]  # also those that were rotated or revoked
    if not theirs:
        return False, f"Signed as {actor}, who has no registered key: nobody can say whose signature this is."
    if not any(entry.envelope.verified_by(rules.public_key(key)) for key in theirs):
        return False, f"The signature is not a key of {actor}'s over these bytes."
    return True, f"Signed by {actor} with an Ed25519 key registered for them, over exactly these bytes."
