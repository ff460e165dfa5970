"""Rules about keys, roles and policies: numbers 6 to 12 of `rules.py`."""

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pruneguard.ledger.events import Entry, key_proof
from pruneguard.ledger.state import AdoptedPolicy, Role, State

MONITOR = "monitor"
"""The actor of what the service does by itself: it seals, raises alarms, and does what the policy says follows."""

_LIKE = str.maketrans("01i", "oll", "._-")


@lru_cache(maxsize=256)
def public_key(text: str) -> Ed25519PublicKey:
    """A public key out of its base64. Raises ValueError when it is not 32 bytes."""
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except binascii.Error as error:
        raise ValueError(f"not a public key: {error}") from error


def look(name: str) -> str:
    """What a hasty reader sees; names that look the same are not told apart.

    >>> look("ada-1") == look("adal") == look("a.d.ai")
    True
    """
    return name.translate(_LIKE)


def _may_register(state: State, entry: Entry) -> Iterator[str]:
    actor, data = entry.event.actor, entry.event.data
    roles = {Role(role) for role in data["roles"]}
    if not state.people:
        if data["actor"] != actor or Role.ADMIN not in roles:
            yield "the first key must be its own actor's, with the role admin"
    else:
        yield from _is_another_admin(state, actor, data["person"])
    known = state.people.get(data["actor"])
    if known is not None and known.public_key is not None:
        yield f"{data['actor']!r} has a key already; it can be rotated, or revoked first"
    elif known is not None and known.person != data["person"]:
        yield f"{data['actor']!r} is {known.person!r}, not {data['person']!r}"
    if MONITOR in (data["actor"], data["person"]):
        yield f"{MONITOR!r} is the service's own name; nobody has a key for it"
    yield from _is_fresh(state, data["public_key"])
    for kind in ("actor", "person"):
        yield from _looks_like_another(state, kind, data[kind])
    yield from _is_admin_and_approver(state, data["person"], roles)


def _may_rotate(state: State, entry: Entry) -> Iterator[str]:
    event, data = entry.event, entry.event.data
    if event.actor != data["actor"]:
        yield f"{data['actor']!r} alone rotates their key, with the key they have"
    yield from _is_fresh(state, data["public_key"])
    try:
        proof = key_proof(state.id, data["actor"], data["public_key"])
        public_key(data["public_key"]).verify(base64.b64decode(data["proof"]), proof)
    except (InvalidSignature, ValueError):
        yield "the new key has not signed for itself: the proof does not hold"


def _may_revoke(state: State, entry: Entry) -> Iterator[str]:
    actor, named = entry.event.actor, entry.event.data["actor"]
    if actor != named and not state.may(actor, Role.ADMIN):
        yield f"{actor!r} is not an admin; only an admin revokes another's key"
    known = state.people.get(named)
    if known is None or known.public_key is None:
        yield f"{named!r} has no key"
    elif Role.ADMIN in known.roles:
        yield from _is_last_admin(state, named)


def _may_grant(state: State, entry: Entry) -> Iterator[str]:
    data = entry.event.data
    known = state.people.get(data["actor"])
    if known is None or known.public_key is None:
        yield f"{data['actor']!r} has no key; register one first"
        return
    yield from _is_another_admin(state, entry.event.actor, known.person)
    if held := sorted(known.roles & set(data["roles"])):
        yield f"{data['actor']!r} has {held} already"
    yield from _is_admin_and_approver(state, known.person, {Role(role) for role in data["roles"]})


def _may_ungrant(state: State, entry: Entry) -> Iterator[str]:
    data = entry.event.data
    known = state.people.get(data["actor"])
    yield from _is_another_admin(state, entry.event.actor, state.person(data["actor"]))
    if missing := sorted(set(data["roles"]) - (known.roles if known else set())):
        yield f"{data['actor']!r} does not have {missing}"
    elif Role.ADMIN in data["roles"]:
        yield from _is_last_admin(state, data["actor"])


def _may_adopt(state: State, entry: Entry) -> Iterator[str]:
    actor, digest = entry.event.actor, entry.event.refs["policy"]
    policy = AdoptedPolicy.of(entry.event)
    if not state.may(actor, Role.APPROVER):
        yield f"{actor!r} is not an approver"
    pending = state.pending.get(digest)
    before = pending or state.policies.get(digest)
    if before is not None and before != policy:
        yield "this policy was adopted with other terms; a changed policy is another document"
    current = state.in_force.get(policy.name)
    if current is None or current.digest == digest:
        return
    if policy.version <= current.version:
        yield f"version {current.version} of {policy.name!r} is in force; what replaces it has a higher one"
    if pending is not None and state.person(actor) in map(state.person, pending.adopted_by):
        yield f"{actor!r} has adopted it already; another person must"


def _is_another_admin(state: State, actor: str, person: str) -> Iterator[str]:
    if not state.may(actor, Role.ADMIN):
        yield f"{actor!r} is not an admin"
    if state.person(actor) == person:
        yield f"{actor!r} may not decide about their own keys and roles; another admin does"


def _is_last_admin(state: State, actor: str) -> Iterator[str]:
    if not any(Role.ADMIN in person.roles for person in state.people.values() if person.actor != actor):
        yield f"{actor!r} is the last admin; make another one first"


def _is_admin_and_approver(state: State, person: str, roles: set[Role]) -> Iterator[str]:
    held = roles.union(*(state.people[actor].roles for actor in state.accounts.get(person, ())))
    if {Role.ADMIN, Role.APPROVER} <= held:
        yield f"an admin cannot approve, and {person!r} would be both"


def _is_fresh(state: State, key: str) -> Iterator[str]:
    if (owner := state.keys.get(key)) is not None:
        yield f"this key is or was {owner!r}'s; a key is never used again"


def _looks_like_another(state: State, kind: str, name: str) -> Iterator[str]:
    """Names are ASCII, so what is left to confuse are 0 with o, 1 or i with l, and where the dots and dashes are."""
    other = MONITOR if look(name) == look(MONITOR) else state.looks.get((kind, look(name)), name)
    if other != name:
        yield f"{name!r} looks like {other!r}; choose a name that nobody takes for another"


RULES: Mapping[str, Callable[[State, Entry], Iterator[str]]] = {
    "key.registered": _may_register,
    "key.rotated": _may_rotate,
    "key.revoked": _may_revoke,
    "role.granted": _may_grant,
    "role.revoked": _may_ungrant,
    "policy.adopted": _may_adopt,
}
