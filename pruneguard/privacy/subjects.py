"""What is known of a person, and how it is forgotten.

Describing somebody takes two steps, forgetting them three, each finished before the next begins:
  describe  1. the ledger records commitments      2. the vault keeps what opens them
  erase     1. the ledger records the erasure      2. the vault's keys are destroyed      3. its rows are removed

The record comes first. It is where a legal hold or a missing role says no, before anything is lost; and it is what
`reconcile` finishes an interrupted erasure by, and applies again to a vault that came back from a backup. Cut short
after its first step, a description leaves a commitment that nothing opens; describe again.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

from pruneguard.errors import InvalidInputError
from pruneguard.ledger.events import Event
from pruneguard.ledger.keys import Signer
from pruneguard.ledger.ledger import Ledger
from pruneguard.ledger.shapes import is_name
from pruneguard.privacy.commitments import Opening
from pruneguard.privacy.vault import Kept, Vault

BASES: Mapping[str, str] = MappingProxyType(
    {
        "art5-1-e": "kept longer than it is needed",
        "art7-3": "consent was withdrawn",
        "art16": "what was kept is not right",
        "art17": "the person asked for it",
        "art21": "the person objected",
    }
)
"""Legal bases of an erasure: articles of Regulation (EU) 2016/679, in a few words."""

_FIELD = re.compile(r"[a-z][a-z0-9_-]{0,31}")


def describe(ledger: Ledger, vault: Vault, *, person: str, fields: Mapping[str, str], signer: Signer) -> int:
    """Keep personal values of `person` and return the position of the event that commits to them.

    Raises InvalidInputError for a pseudonym that is none, for a field that is kept already, and where the rules object.
    """
    if not is_name(person):
        raise InvalidInputError(
            "a person is named by a pseudonym (1 to 64 of a-z 0-9 . _ -), which stays in the ledger for good: give no "
            "name and no address"
        )
    if not fields or not all(_FIELD.fullmatch(name) for name in fields):
        raise InvalidInputError("give at least one field, named in lower case, for instance name, mail or phone")
    openings = {name: Opening.of(value) for name, value in fields.items()}
    commitments = sorted(opening.commitment for opening in openings.values())
    with vault.held():
        if kept := sorted(fields.keys() & {field.name for field in vault.read(person)}):
            raise InvalidInputError(
                f"{', '.join(kept)} of {person!r} is kept already; "
                f"to put it right, `pruneguard privacy erase {person} --basis art16` and describe them again"
            )
        event = Event("subject.described", signer.actor, {"person": person, "commitments": commitments})
        recorded = ledger.record(event, signer=signer)
        vault.keep(person, openings)
    return recorded.index


def show(ledger: Ledger, vault: Vault, *, person: str) -> list[Kept]:
    """What is kept about `person` and stands on record; empty after an erasure.

    Raises InvalidInputError for somebody who was never on record.
    """
    live = _commitments(ledger, person)
    return [field for field in vault.read(person) if field.commitment in live]


def erase(ledger: Ledger, vault: Vault, *, person: str, basis: str, signer: Signer) -> int | None:
    """Forget everything about `person`; returns the position of the event, or None when they were forgotten before.

    Raises InvalidInputError for somebody who was never on record, and where the rules object: then nothing is lost.
    """
    if basis not in BASES:
        raise InvalidInputError(f"unknown legal basis {basis!r}; known are {sorted(BASES)}")
    index = None
    with vault.held():
        # From the ledger, not from the vault: what a lost vault held must not come back with it.
        if commitments := sorted(_commitments(ledger, person)):
            event = Event("subject.erased", signer.actor, {"commitments": commitments, "basis": basis})
            index = ledger.record(event, signer=signer).index
        vault.forget(ledger.state().erased)
    return index


def reconcile(ledger: Ledger, vault: Vault) -> int:
    """Remove what the ledger says is erased, after an erasure cut short or a vault restored from a backup.

    Returns how many values it removed. Whoever opens a ledger calls it.
    """
    kept = vault.openings.commitments()
    if not kept or kept.isdisjoint(ledger.state().erased):
        return 0
    with vault.held():
        return vault.forget(ledger.state().erased)


def _commitments(ledger: Ledger, person: str) -> set[str]:
    """What is on record about a person and not erased."""
    known = ledger.state().subjects
    if person not in known:
        raise InvalidInputError(f"nothing was ever on record about {person!r}; known are {sorted(known)}")
    return known[person]
