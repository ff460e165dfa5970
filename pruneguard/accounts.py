"""The acts about people: whose a key is, and what they may do.

Each makes one event, signed by the person who decides, and lets the ledger say whether it may take effect; a refusal is
an InvalidInputError with every reason.
"""

from collections.abc import Collection
from pathlib import Path

from pruneguard.errors import InvalidInputError
from pruneguard.ledger.events import Event
from pruneguard.ledger.keys import Signer, load_signer, new_signer
from pruneguard.ledger.ledger import Ledger, Recorded
from pruneguard.ledger.state import Role


def register(
    ledger: Ledger, *, actor: str, public_key: str, roles: Collection[Role], signer: Signer, person: str | None = None
) -> Recorded:
    """An admin says whose key this is and what they may do.

    `person` is who is behind the account, by a pseudonym; without one, somebody who has no other account.
    """
    data = {"actor": actor, "person": person or actor, "public_key": public_key, "roles": _values(roles)}
    return ledger.record(Event("key.registered", signer.actor, data), signer=signer)


def rotate(ledger: Ledger, path: Path, *, passphrase: bytes | None, new_passphrase: bytes | None) -> Signer:
    """Put a new key in the place of the one in the file at `path`, in the ledger and in the file.

    Three steps: 1. the new key is kept in a file beside it; 2. the ledger records it, signed with the old key and with
    the new one; 3. the files change places, and the old one keeps its name with `.old` and the key's first characters.
    The same call after an interruption goes on where that stopped.
    """
    beside = path.with_name(f"{path.name}.new")
    if beside.exists() and not path.exists():  # all but the last step was done
        beside.rename(path)
        return load_signer(path, passphrase=new_passphrase)
    old = load_signer(path, passphrase=passphrase)
    if beside.exists():
        new = load_signer(beside, passphrase=new_passphrase)
    else:
        new = new_signer(beside, old.actor, passphrase=new_passphrase)
    known = ledger.state().people.get(old.actor)
    if known is None or known.public_key != new.public_key:
        proof = new.prove(ledger.state().id)
        data = {"actor": old.actor, "public_key": new.public_key, "proof": proof}
        ledger.record(Event("key.rotated", old.actor, data), signer=old)
    path.rename(path.with_name(f"{path.name}.old-{old.fingerprint}"))
    beside.rename(path)
    return new


def revoke(ledger: Ledger, *, actor: str, reason: str, signer: Signer) -> Recorded:
    """Nothing that this actor signs counts from here on; their roles go too. What they signed before stands."""
    return ledger.record(Event("key.revoked", signer.actor, {"actor": actor, "reason": reason}), signer=signer)


def grant(ledger: Ledger, *, actor: str, roles: Collection[Role], signer: Signer) -> Recorded:
    data = {"actor": actor, "roles": _values(roles)}
    return ledger.record(Event("role.granted", signer.actor, data), signer=signer)


def ungrant(ledger: Ledger, *, actor: str, roles: Collection[Role], reason: str, signer: Signer) -> Recorded:
    data = {"actor": actor, "roles": _values(roles), "reason": reason}
    return ledger.record(Event("role.revoked", signer.actor, data), signer=signer)


def roles_of(names: Collection[str]) -> list[Role]:
    """Roles by their names. Raises InvalidInputError naming those there are."""
    if unknown := sorted(set(names) - set(Role)):
        raise InvalidInputError(f"unknown roles {unknown}; the roles are {[role.value for role in Role]}")
    return [Role(name) for name in names]


def _values(roles: Collection[Role]) -> list[str]:
    return sorted({role.value for role in roles})
