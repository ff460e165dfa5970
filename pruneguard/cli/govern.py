"""Commands of people who answer for something: init, keys, approve."""

import argparse
from pathlib import Path

from pruneguard.cli.arguments import Commands, command, service, settings, signer, with_key
from pruneguard.errors import InvalidInputError


def add(commands: Commands) -> None:
    init = command(
        commands,
        "init",
        _init,
        "Open a new ledger.\n\nThe admin named here registers everybody else's keys and can approve nothing.",
    )
    init.add_argument("--admin", default="root", help="who administers it (default: %(default)s)")
    init.add_argument("--origin", help="the ledger's name in every checkpoint (default: this host's name/pruneguard)")
    init.add_argument(
        "--team",
        action="store_true",
        help="also make and register keys for ada (engineer), grace (approver) and otto (operator), to try things out",
    )

    keys = commands.add_parser("keys", help="make a key of one's own, and say whose a key is")
    kinds = keys.add_subparsers(title="commands", metavar="COMMAND", required=True)
    new = command(kinds, "new", _new, "Make your own signing key; it never leaves the file.")
    new.add_argument("actor", help="your id in the ledger")
    new.add_argument("--out", type=Path, help="where to keep it (default: ACTOR.key in the keys folder)")
    register = command(kinds, "register", _register, "An admin says whose a public key is and what they may do.")
    register.add_argument("actor")
    register.add_argument("public_key", help="what `keys new` printed")
    register.add_argument("--role", action="append", required=True, help="engineer, approver, operator, auditor, admin")
    with_key(register, "root")

    approve = command(
        commands,
        "approve",
        _approve,
        "Sign a proposed release, or adopt a policy, with your own key.\n\n"
        "  pruneguard approve digits 2 --reason 'reviewed the findings'\n"
        "  pruneguard approve --policy standard",
    )
    approve.add_argument("model", nargs="?")
    approve.add_argument("number", nargs="?", type=int, help="the release's number (`pruneguard status` lists them)")
    approve.add_argument("--reason", default="", help="why; it stands in the audit trail")
    approve.add_argument("--policy", metavar="NAME_OR_FILE", help="adopt this policy instead of a release")
    with_key(approve, "grace")


def _init(args: argparse.Namespace) -> int:
    from pruneguard import home

    known = settings()
    ledger = home.create(known, admin=args.admin, origin=args.origin, team=args.team)
    print(f"ledger {ledger.state().origin!r} opened in {known.home.resolve()}; keys lie in {known.keys_dir}")
    print("next: pruneguard approve --policy NAME_OR_FILE, then pruneguard run MANIFEST")
    return 0


def _new(args: argparse.Namespace) -> int:
    from pruneguard.ledger.keys import new_signer

    path = args.out or settings().keys_dir / f"{args.actor}.key"
    key = new_signer(path, args.actor).public_key
    print(f"{path} holds the private key of {args.actor}. An admin registers the public one:")
    print(f"pruneguard keys register {args.actor} {key} --role ROLE")
    return 0


def _register(args: argparse.Namespace) -> int:
    from pruneguard import home
    from pruneguard.ledger.state import Role

    known = settings()
    if unknown := sorted(set(args.role) - set(Role)):
        raise InvalidInputError(f"unknown roles {unknown}; the roles are {[role.value for role in Role]}")
    roles = [Role(role) for role in args.role]
    ledger = home.open_ledger(known)
    home.register(ledger, actor=args.actor, public_key=args.public_key, roles=roles, signer=signer(args, known))
    print(f"{args.actor} is registered: {', '.join(roles)}")
    return 0


def _approve(args: argparse.Namespace) -> int:
    from pruneguard import home, releases

    known = settings()
    person = signer(args, known)
    ledger = home.open_ledger(known)
    if args.policy:
        policy = service("policies.document").load_policy(args.policy)
        done = releases.adopt(ledger, home.artifacts(known), policy=policy, signer=person)
        print(f"policy {policy.name} {policy.version} adopted by {person.actor} (event {done.index})")
        return 0
    if args.model is None or args.number is None:
        waiting = [f"{r.model} {r.number}" for r in releases.awaiting_approval(ledger.state())]
        raise InvalidInputError(f"name a model and a release's number, or --policy; waiting are {waiting or 'none'}")
    done = releases.approve(ledger, model=args.model, number=args.number, reason=args.reason, signer=person)
    release = releases.find_release(ledger.state(), model=args.model, number=args.number)
    print(f"{args.model} {args.number} is {release.status} (event {done.index}, signed by {person.actor})")
    if release.status == "approved":
        print("next: pruneguard up, which gives it traffic; where one runs already it follows by itself")
    return 0
