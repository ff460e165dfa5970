"""keys/people.json: who held which key and role, and from which position in the log to which."""

from typing import Any

from pruneguard import canonical
from pruneguard.audit.selection import Selection
from pruneguard.ledger.events import Event

PATH = "keys/people.json"
KEYS, ROLES = ("key.registered", "key.rotated", "key.revoked"), ("role.granted", "role.revoked")

Stretch = dict[str, Any]


def people(selection: Selection) -> dict[str, bytes]:
    """Every account with its keys and roles, each from one entry to the entry that ended it; the latter is exclusive.

    A person is the pseudonym under which an admin registered the account. Two accounts of one person are one human,
    and duties compare humans.
    """
    accounts: dict[str, dict[str, Any]] = {}
    for index, event in _events(selection):
        _take(accounts.setdefault(event.data["actor"], {"person": "", "keys": [], "roles": []}), index, event)
    humans: dict[str, list[dict[str, Any]]] = {}
    for actor, account in accounts.items():
        held = {"actor": actor, "keys": account["keys"], "roles": account["roles"]}
        humans.setdefault(account["person"], []).append(held)
    listed: list[Any] = [{"person": person, "accounts": humans[person]} for person in sorted(humans)]
    return {PATH: canonical.encode({"kind": "people/v1", "size": selection.checkpoint.size, "people": listed})}


def _events(selection: Selection) -> list[tuple[int, Event]]:
    positions = sorted(index for name in (*KEYS, *ROLES) for index in selection.kinds.get(name, ()))
    found = ((index, selection.log[index]) for index in positions)
    return [(index, entry.event) for index, entry in found if entry is not None]


def _take(account: dict[str, Any], index: int, event: Event) -> None:
    data = event.data
    match event.type:
        case "key.registered":
            account["person"] = data["person"]
            _begin(account["keys"], index, public_key=data["public_key"])
            _grant(account["roles"], index, data["roles"])
        case "key.rotated":
            _end(account["keys"], index)
            _begin(account["keys"], index, public_key=data["public_key"])
        case "key.revoked":
            _end(account["keys"], index)
            _end(account["roles"], index)
        case "role.granted":
            _grant(account["roles"], index, data["roles"])
        case _:
            _end([role for role in account["roles"] if role["role"] in data["roles"]], index)


def _grant(roles: list[Stretch], index: int, granted: list[str]) -> None:
    held = {role["role"] for role in roles if role["to"] is None}
    for name in granted:
        if name not in held:
            _begin(roles, index, role=name)


def _begin(stretches: list[Stretch], index: int, **what: str) -> None:
    stretches.append({**what, "from": index, "to": None})


def _end(stretches: list[Stretch], index: int) -> None:
    for stretch in stretches:
        if stretch["to"] is None:
            stretch["to"] = index
