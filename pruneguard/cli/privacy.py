"""Commands about people and legal holds: privacy describe, show, list, erase, hold, release-hold."""

import argparse
import sys

from pruneguard.cli import retain
from pruneguard.cli.arguments import Commands, command, settings, show, signer, with_json, with_key
from pruneguard.errors import InvalidInputError


def add(commands: Commands) -> None:
    privacy = commands.add_parser("privacy", help="what is known of people, how long records are kept, legal holds")
    kinds = privacy.add_subparsers(title="commands", metavar="COMMAND", required=True)

    describe = command(
        kinds,
        "describe",
        _describe,
        "Keep personal values of somebody outside the ledger, which gets a salted commitment to each.\n\n"
        "  pruneguard privacy describe grace --name - --mail - < two-lines.txt\n\n"
        "The pseudonym stays in the ledger for good, and so does every reason that people write into it: neither can\n"
        "be erased, so give no name in either. A value of - is read from standard input, a line each, and leaves no\n"
        "trace in the history of a shell.",
    )
    describe.add_argument("person", help="a pseudonym, for instance a person's id in the ledger")
    describe.add_argument("--name", metavar="TEXT")
    describe.add_argument("--mail", metavar="TEXT")
    describe.add_argument("--field", action="append", default=[], metavar="FIELD=TEXT", help="anything else")
    with_json(with_key(describe, "root"))

    shown = with_json(command(kinds, "show", _show, "Print what is kept about somebody."))
    shown.add_argument("person")
    with_json(command(kinds, "list", _list, "List who is on record, and the legal holds that stand."))

    erase = with_json(
        command(
            kinds,
            "erase",
            _erase,
            "Forget everything about somebody: the key, then the values. Every proof still holds.\n\n"
            "The ledger records which commitments lost their value, and on which legal basis; the pseudonym stays.\n"
            "The same command after an interruption goes on where it stopped; a restored backup is erased again.",
        )
    )
    erase.add_argument("person")
    erase.add_argument("--basis", required=True, help="article of Regulation (EU) 2016/679: art17, art16, art21, ...")
    with_key(erase, "root")

    hold = command(
        kinds,
        "hold",
        _hold,
        "Place a legal hold: nothing of its scope is erased or dropped until it is lifted.",
    )
    hold.add_argument("hold", help="a name for it")
    hold.add_argument("scope", help="telemetry, decisions, all, or subject:PERSON")
    hold.add_argument("--reason", required=True, help="why; it stands in the audit trail")
    with_json(with_key(hold, "root"))
    lift = command(kinds, "release-hold", _release_hold, "Lift a legal hold.")
    lift.add_argument("hold")
    lift.add_argument("--reason", required=True, help="why; it stands in the audit trail")
    with_json(with_key(lift, "root"))

    retain.add(kinds)


def _describe(args: argparse.Namespace) -> int:
    from pruneguard import home
    from pruneguard.privacy import subjects

    known = settings()
    fields = _read(_given(args))
    ledger, vault = home.open_ledger(known), home.vault(known)
    index = subjects.describe(ledger, vault, person=args.person, fields=fields, signer=signer(args, known))
    return _done(args, index, f"{args.person}: {', '.join(fields)} kept outside the ledger, which commits to them")


def _given(args: argparse.Namespace) -> dict[str, str]:
    pairs = [("name", args.name), ("mail", args.mail)]
    for text in args.field:
        field, found, value = text.partition("=")
        if not found:
            raise InvalidInputError("--field takes FIELD=TEXT, and FIELD=- to read it from standard input")
        pairs.append((field, value))
    given = [(field, value) for field, value in pairs if value is not None]
    if len(given) != len(dict(given)):
        raise InvalidInputError("a field is given twice; give each once")
    return dict(given)


def _read(fields: dict[str, str]) -> dict[str, str]:
    """The fields, those of - replaced by lines of standard input, in their order."""
    return {field: _line(field) if value == "-" else value for field, value in fields.items()}


def _line(field: str) -> str:
    if sys.stdin.isatty():
        print(f"{field}: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().rstrip("\n")


def _show(args: argparse.Namespace) -> int:
    from pruneguard import home
    from pruneguard.privacy import subjects

    known = settings()
    ledger = home.read_ledger(known)
    fields = subjects.show(ledger, home.vault(known), person=args.person)
    if args.json:
        show({field.name: {"value": field.value, "commitment": field.commitment} for field in fields})
        return 0
    for field in fields:
        print(f"{field.name:<12} {field.value}")
    if not fields and (shut := len(ledger.state().subjects[args.person])):
        print(f"{shut} values are on record about {args.person}, and nothing here opens them; restore the keys")
    elif not fields:
        print(f"nothing is kept about {args.person}")
    return 0


def _list(args: argparse.Namespace) -> int:
    from pruneguard import home

    known = settings()
    state = home.read_ledger(known).state()
    kept = home.vault(known).openings.all()
    fields = {person: [row.field for row in kept if row.commitment in live] for person, live in state.subjects.items()}
    holds = sorted(state.holds.values(), key=lambda hold: hold.index)
    if args.json:
        show(
            {
                "people": [{"person": person, "fields": names} for person, names in sorted(fields.items())],
                "holds": [
                    {"hold": h.hold, "scope": h.scope, "reason": h.reason, "by": h.by, "since": h.time} for h in holds
                ],
            }
        )
        return 0
    for person, names in sorted(fields.items()):
        print(f"{person:<24} {', '.join(names) or 'nothing is kept'}")
    for h in holds:
        print(f"hold {h.hold:<19} on {h.scope} by {h.by} since {h.time[:19]}Z: {h.reason}")
    if not fields and not holds:
        print("nobody is on record, and no hold stands")
    return 0


def _erase(args: argparse.Namespace) -> int:
    from pruneguard import home
    from pruneguard.privacy import subjects

    known = settings()
    ledger, vault, person = home.open_ledger(known), home.vault(known), signer(args, known)
    index = subjects.erase(ledger, vault, person=args.person, basis=args.basis, signer=person)
    if args.json:
        show({"event": index, "basis": args.basis})
    elif index is None:
        print(f"nothing was kept about {args.person} any more; nothing was changed")
    else:
        print(f"what was kept about {args.person} is gone (event {index}): {subjects.BASES[args.basis]}")
        print("backups of privacy.sqlite or keys/subjects that are restored are erased again by the next command")
    return 0


def _hold(args: argparse.Namespace) -> int:
    from pruneguard import home
    from pruneguard.privacy import holds

    known = settings()
    index = holds.place(
        home.open_ledger(known), hold=args.hold, scope=args.scope, reason=args.reason, signer=signer(args, known)
    )
    return _done(args, index, f"hold {args.hold} stands on {args.scope}")


def _release_hold(args: argparse.Namespace) -> int:
    from pruneguard import home
    from pruneguard.privacy import holds

    known = settings()
    index = holds.lift(home.open_ledger(known), hold=args.hold, reason=args.reason, signer=signer(args, known))
    return _done(args, index, f"hold {args.hold} is lifted")


def _done(args: argparse.Namespace, index: int, told: str) -> int:
    if args.json:
        show({"event": index})
    else:
        print(f"{told} (event {index})")
    return 0
