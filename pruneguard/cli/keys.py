"""`pruneguard keys`: keys of people, and what each may do."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pruneguard.cli.arguments import (
    Commands,
    command,
    new_passphrase,
    passphrase,
    settings,
    show,
    signer,
    with_json,
    with_key,
)

if TYPE_CHECKING:
    from pruneguard.ledger.state import Person

ROLES = "engineer (runs, proposes), approver, operator (traffic, rollback), auditor or admin; again for more"


def add(commands: Commands) -> None:
    keys = commands.add_parser("keys", help="keys of people, and what each of them may do")
    kinds = keys.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_own(kinds)
    _add_admins(kinds)
    with_json(command(kinds, "list", _list, "Everybody who has or had a key: account, person, roles, key."))


def _add_own(kinds: Commands) -> None:
    new = command(
        kinds,
        "new",
        _new,
        "Make your own signing key; it never leaves the file.\n\n"
        "A passphrase is asked for, which opens the file from then on. In scripts: PRUNEGUARD_PASSPHRASE, or\n"
        "--no-passphrase for a key that whoever reads the file can use.",
    )
    new.add_argument("actor", help="your id in the ledger: a-z 0-9 . _ -, 64 at most; no name and no address")
    new.add_argument(
        "--out", type=Path, metavar="FILE", help="where to keep it (default: ACTOR.key in the keys folder)"
    )
    rotate = command(
        kinds,
        "rotate",
        _rotate,
        "Put a new key in the place of yours, in the ledger and in the file.\n\n"
        "The old key signs that, and the new one for itself. What the old one signed stands; its file stays beside\n"
        "the new one with .old in its name. The same command after an interruption goes on where it stopped.",
    )
    rotate.add_argument("actor", help="you")
    rotate.add_argument("--key", type=Path, metavar="FILE", help="your key (default: ACTOR.key in the keys folder)")
    for sub in (new, rotate):
        sub.add_argument("--no-passphrase", action="store_true", help="keep the new key unprotected: for trying out")


def _add_admins(kinds: Commands) -> None:
    register = command(kinds, "register", _register, "An admin says whose a public key is and what they may do.")
    register.add_argument("actor")
    register.add_argument("public_key", help="what `keys new` printed")
    register.add_argument("--role", action="append", required=True, help=ROLES)
    register.add_argument(
        "--person", help="pseudonym of who is behind it, if they have another account: duties are a person's"
    )
    revoke = command(
        kinds,
        "revoke",
        _revoke,
        "Nothing that a key signs counts from here on.\n\n"
        "By an admin, or by its owner with --key. What it signed before stands; roles go with it. Afterwards an\n"
        "admin can register another key for the same account; this one is never taken again.",
    )
    grant = command(kinds, "grant", _grant, "Give a role to somebody else.")
    ungrant = command(kinds, "ungrant", _ungrant, "Take a role from somebody else.")
    for sub in (revoke, grant, ungrant):
        sub.add_argument("actor")
    for sub in (grant, ungrant):
        sub.add_argument("--role", action="append", required=True, help=ROLES)
    for sub in (revoke, ungrant):
        sub.add_argument("--reason", required=True, help="why; it stands in the audit trail")
    for sub in (register, revoke, grant, ungrant):
        with_key(sub, "root")


def _new(args: argparse.Namespace) -> int:
    from pruneguard.ledger.keys import new_signer

    known = settings()
    path = args.out or known.keys_dir / f"{args.actor}.key"
    key = new_signer(path, args.actor, passphrase=new_passphrase(path, known, none=args.no_passphrase)).public_key
    print(f"{path} holds the private key of {args.actor}. An admin registers the public one:")
    print(f"pruneguard keys register {args.actor} {key} --role ROLE")
    return 0


def _rotate(args: argparse.Namespace) -> int:
    from pruneguard import accounts, home

    known = settings()
    path = args.key or known.keys_dir / f"{args.actor}.key"
    old = passphrase(path, known)
    new = new_passphrase(path, known, none=args.no_passphrase)
    key = accounts.rotate(home.open_ledger(known), path, passphrase=old, new_passphrase=new)
    print(
        f"{path} holds the new key of {key.actor}, {key.fingerprint}; the old one lies beside it and signs nothing more"
    )
    return 0


def _register(args: argparse.Namespace) -> int:
    from pruneguard import accounts, home

    known, roles = settings(), accounts.roles_of(args.role)
    person, who = signer(args, known), args.person or args.actor
    accounts.register(
        home.open_ledger(known),
        actor=args.actor,
        person=who,
        public_key=args.public_key,
        roles=roles,
        signer=person,
    )
    print(f"{args.actor} is registered: {', '.join(roles)}" + (f"; the person is {who}" if who != args.actor else ""))
    return 0


def _revoke(args: argparse.Namespace) -> int:
    from pruneguard import accounts, home

    known = settings()
    person = signer(args, known)
    done = accounts.revoke(home.open_ledger(known), actor=args.actor, reason=args.reason, signer=person)
    print(f"the key of {args.actor} signs nothing from event {done.index} on")
    return 0


def _grant(args: argparse.Namespace) -> int:
    from pruneguard import accounts, home

    known, roles = settings(), accounts.roles_of(args.role)
    person = signer(args, known)
    done = accounts.grant(home.open_ledger(known), actor=args.actor, roles=roles, signer=person)
    print(f"{args.actor} is {', '.join(roles)} from event {done.index} on")
    return 0


def _ungrant(args: argparse.Namespace) -> int:
    from pruneguard import accounts, home

    known, roles = settings(), accounts.roles_of(args.role)
    person = signer(args, known)
    done = accounts.ungrant(home.open_ledger(known), actor=args.actor, roles=roles, reason=args.reason, signer=person)
    print(f"{args.actor} is not {', '.join(roles)} from event {done.index} on")
    return 0


def _list(args: argparse.Namespace) -> int:
    from pruneguard import home

    people = [_listed(person) for person in home.read_ledger(settings()).state().people.values()]
    if args.json:
        show(people)
        return 0
    for told in people:
        roles = ", ".join(told["roles"]) or "nothing any more"
        same = "" if told["person"] == told["actor"] else f" (person {told['person']})"
        print(f"{told['actor']:<16} {roles:<24} {told['public_key'] or 'key revoked'}{same}")
    return 0


def _listed(person: "Person") -> dict[str, Any]:
    return {
        "actor": person.actor,
        "person": person.person,
        "roles": sorted(role.value for role in person.roles),
        "public_key": person.public_key,
    }
