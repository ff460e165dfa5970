"""Commands of operators: release, hold, resume, divert, restore, rollback."""

import argparse
from typing import TYPE_CHECKING, Any

from pruneguard.cli.arguments import Commands, command, settings, show, signer, with_json, with_key

if TYPE_CHECKING:
    from pruneguard.ledger.ledger import Ledger, Recorded


def add(commands: Commands) -> None:
    release = _about(
        commands,
        "release",
        _release,
        "Give an approved release the next share of the traffic, in your own name.\n\n"
        "  pruneguard release digits 2                 the next step of its policy\n"
        "  pruneguard release digits 2 --share 0.05    back to a smaller step\n"
        "  pruneguard release digits 2 --copies 0.2    no traffic: it answers a fifth of the requests as well,\n"
        "                                              unheard; what it would have answered is recorded\n\n"
        "The monitor does the first by itself once a canary has answered what its step asks for and is no worse than\n"
        "the live version; `pruneguard status` says what is left. Nobody leaves out a step, or shortens its time.",
        reason=False,
    )
    release.add_argument("number", type=int, help="the release's number (`pruneguard status` lists them)")
    what = release.add_mutually_exclusive_group()
    what.add_argument("--share", type=float, help="a share that its policy has a step for, or 1")
    what.add_argument("--copies", type=float, metavar="SHARE", help="a share of the requests; 0 ends it")
    hold = _about(
        commands,
        "hold",
        _hold,
        "Keep a release where it is.\n\n"
        "Nobody, not the monitor either, gives a held release another share of the traffic, until somebody resumes\n"
        "it. The way back stays open: `pruneguard rollback`, and the monitor's own rollback, end the hold.",
    )
    hold.add_argument("number", nargs="?", type=int, help="default: the canary, or the next approved release")
    resume = _about(commands, "resume", _resume, "Let a held release go on.")
    resume.add_argument("number", nargs="?", type=int, help="default: the one that is held")
    divert = _about(
        commands,
        "divert",
        _divert,
        "The kill switch: take all traffic of a model away from its releases, until it is restored.\n\n"
        "  pruneguard divert digits --reason 'answers make no sense'             to the release of its twin\n"
        "  pruneguard divert digits --to 3 --reason 'known to be good'           to one that was live\n"
        "  pruneguard divert digits --nothing --reason 'no answer may leave'     every request gets 503, and why\n\n"
        "Without --to it is the newest release of the dense twin, or else what was live before; where there is\n"
        "neither, nothing answers. What was rolled back, or never live, stands in for nobody. Every gateway follows\n"
        "within a second; no share moves until `pruneguard restore`.",
    )
    where = divert.add_mutually_exclusive_group()
    where.add_argument("--to", type=int, metavar="NUMBER", help="the release that answers instead")
    where.add_argument("--nothing", action="store_true", help="nothing answers: 503 with the reason")
    _about(commands, "restore", _restore, "Let what is live, and a canary beside it, answer again after a `divert`.")
    rollback = _about(
        commands,
        "rollback",
        _rollback,
        "Return to the version that was live before.\n\n"
        "Where a canary runs, it is taken out of traffic; else the live version gives way to the one before it.\n"
        "One operator is enough. Every gateway follows within a second.",
    )
    rollback.add_argument("number", nargs="?", type=int, help="default: the canary, or else what is live")


def _about(commands: Commands, name: str, act: Any, told: str, *, reason: bool = True) -> argparse.ArgumentParser:
    """A command about one model, signed by an operator."""
    parser = with_json(command(commands, name, act, told))
    parser.add_argument("model")
    if reason:
        parser.add_argument("--reason", required=True, help="why; it stands in the audit trail")
    with_key(parser, "otto")
    return parser


def _release(args: argparse.Namespace) -> int:
    from pruneguard import releases

    ledger, person = _open(args)
    about = {"model": args.model, "number": args.number, "actor": person.actor, "signer": person}
    if args.copies is not None:
        done = releases.copy(ledger, share=args.copies or None, **about)
        copies = done.event.data["share"]
        return _told(args, done, f"answers copies of {copies} of the requests" if copies else "answers no copies")
    done = releases.shift(ledger, share=args.share, **about)
    return _told(args, done, f"takes {done.event.data['share']} of the traffic")


def _hold(args: argparse.Namespace) -> int:
    from pruneguard import releases

    ledger, person = _open(args)
    done = releases.hold(
        ledger, model=args.model, number=args.number, reason=args.reason, actor=person.actor, signer=person
    )
    return _told(args, done, f"is held; next: pruneguard resume {args.model} --reason ...")


def _resume(args: argparse.Namespace) -> int:
    from pruneguard import releases

    ledger, person = _open(args)
    done = releases.resume(
        ledger, model=args.model, number=args.number, reason=args.reason, actor=person.actor, signer=person
    )
    return _told(args, done, "may go on")


def _divert(args: argparse.Namespace) -> int:
    from pruneguard import releases

    ledger, person = _open(args)
    how = {"to": args.to, "nothing": args.nothing, "actor": person.actor, "signer": person}
    done = releases.divert(ledger, model=args.model, reason=args.reason, **how)
    to = done.event.data["to"]
    what = f"version {to} answers instead" if to else "nothing answers, every request gets 503"
    return _told(args, done, f"{what}; next: pruneguard restore {args.model} --reason ...")


def _restore(args: argparse.Namespace) -> int:
    from pruneguard import releases

    ledger, person = _open(args)
    done = releases.restore(ledger, model=args.model, reason=args.reason, actor=person.actor, signer=person)
    return _told(args, done, "what is live answers again")


def _rollback(args: argparse.Namespace) -> int:
    from pruneguard import releases

    ledger, person = _open(args)
    done = releases.roll_back(
        ledger, model=args.model, number=args.number, reason=args.reason, actor=person.actor, signer=person
    )
    return _told(args, done, f"rolled back, version {done.event.data['to']} answers")


def _open(args: argparse.Namespace) -> "tuple[Ledger, Any]":
    """The ledger, and who signs."""
    from pruneguard import home

    known = settings()
    return home.open_ledger(known), signer(args, known)


def _told(args: argparse.Namespace, done: "Recorded", what: str) -> int:
    data = done.event.data
    if args.json:
        show({"index": done.index, "event": done.event.id, "type": done.event.type, "data": dict(data)})
        return 0
    version = f" version {data['number']}" if "number" in data else ""
    print(f"{data['model']}:{version} {what} (event {done.index})")
    return 0
