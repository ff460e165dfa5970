"""`gates test` and `gates schedule`: do the gates still refuse what they must?"""

import argparse
import os
import re
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from pruneguard.cli.arguments import (
    PASSPHRASE,
    Commands,
    command,
    key_file,
    passphrase,
    service,
    settings,
    show,
    signer,
    with_json,
    with_key,
)
from pruneguard.errors import InvalidInputError
from pruneguard.gates.exhibits import CLEAN_MIN, ArtefactTest
from pruneguard.gates.selftest import SelfTest, self_test
from pruneguard.policy import Policy
from pruneguard.reporting import hushed


def add(commands: Commands) -> None:
    gates = commands.add_parser("gates", help="try whether the gates still refuse what they must")
    under = gates.add_subparsers(title="commands", metavar="COMMAND", required=True)
    sub = with_json(
        command(
            under,
            "test",
            _test,
            "Give a policy's gates bad evidence, and see whether each rule refuses it.\n\n"
            "With --artefacts also real networks, each made bad in one way, and good ones, trained, pruned and\n"
            "measured here: some minutes. Nothing is recorded, unless --record asks for it: then an engineer signs\n"
            "what became of the artefacts, and whoever verifies a bundle decides it again from the evidence.",
        )
    )
    _on_trial(sub)
    sub.add_argument("--artefacts", action="store_true", help="with real artefacts, bad and clean")
    sub.add_argument("--record", action="store_true", help="put on record what became of the artefacts")
    schedule = command(
        under,
        "schedule",
        _schedule,
        "Try a policy's gates with real artefacts at regular times, and record each trial, until Ctrl-C.\n\n"
        "Drills fall on multiples of --every since a Monday, midnight in UTC; one that was missed, or killed\n"
        "half-way, is made up for at the start. Exit code 1 as soon as the gates let a bad artefact pass, or refuse\n"
        "too many good ones: a line that begins with ALARM says which.",
    )
    _on_trial(schedule)
    schedule.add_argument(
        "--every", type=_every, default=timedelta(days=7), metavar="N{d,h,min}", help="how often (default: 7d)"
    )


def _on_trial(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--policy", default="standard", metavar="NAME|FILE", help="the policy on trial (default: standard)"
    )
    sub.add_argument("--seed", type=int, default=1, help="what the artefacts are made from (default: 1)")
    with_key(sub, "ada")


_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "min": timedelta(minutes=1)}


def _every(text: str) -> timedelta:
    """A whole number of days, hours or minutes.

    >>> _every("7d"), _every("90min")
    (datetime.timedelta(days=7), datetime.timedelta(seconds=5400))
    """
    found = re.fullmatch(r"([1-9][0-9]{0,3})(d|h|min)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time between drills; expected for instance 7d, 12h or 30min")
    return int(found[1]) * _UNITS[found[2]]


def _test(args: argparse.Namespace) -> int:
    if args.record and not args.artefacts:
        raise InvalidInputError(
            "--record is for real artefacts; add --artefacts (a run records the other trial itself)"
        )
    policy = service("policies.document").load_policy(args.policy)
    held = self_test(policy)
    artefacts = None
    if args.artefacts:
        artefacts = _recorded(policy, args) if args.record else _artefacts(policy, args)
    if args.json:
        show({"evidence": held.to_document(), "artefacts": artefacts and artefacts.to_document()})
    else:
        _tell(held)
        if artefacts is not None:
            _tell_artefacts(artefacts)
    return 0 if held.passed and (artefacts is None or artefacts.passed) else 1


def _artefacts(policy: Policy, args: argparse.Namespace) -> ArtefactTest:
    from pruneguard.cli.terminal import Terminal
    from pruneguard.drill.suite import artefact_test

    with Terminal(stderr=True) as terminal:
        progress = terminal.progress("networks, bad and good, measured and judged")
        with hushed():  # every training would tell of itself
            return artefact_test(policy, seed=args.seed, progress=progress)


def _recorded(policy: Policy, args: argparse.Namespace) -> ArtefactTest:
    from pruneguard import home
    from pruneguard.cli.terminal import Terminal
    from pruneguard.drill import holding

    known = settings()
    person = signer(args, known)
    with closing(home.open_ledger(known)) as ledger, Terminal(stderr=True):
        drill = holding.begin(policy, seed=args.seed, ledger=ledger, artifacts=home.artifacts(known), signer=person)
        test = holding.hold(drill)
        holding.record(drill, test)
    return test


def _schedule(args: argparse.Namespace) -> int:
    known = settings()
    path = key_file(args, known)
    if (given := passphrase(path, known)) is not None:
        # The flow reads settings and key itself, so that the engine records neither; its children are not told.
        os.environ[PASSPHRASE] = given.decode()
    policy = str(Path(args.policy).resolve()) if Path(args.policy).is_file() else args.policy
    flow = service("flows.gate_self_test")
    return int(flow.main(known, policy=policy, key=path.resolve(), seed=args.seed, every=args.every))


def _tell(held: SelfTest) -> None:
    print(f"{held.refused} of {held.of} pieces of bad evidence refused")
    for trial in held.trials:
        if not trial.refused:
            print(f"  LET PASS  {trial.rule}: {trial.seeded}")
    for rule in held.impassable:
        print(f"  {rule}: refuses good evidence too; check that it can be met")


def _tell_artefacts(test: ArtefactTest) -> None:
    refused = sum(each.refused for each in test.bad)
    print(f"{refused} of {len(test.bad)} bad artefacts refused")
    for each in test.bad:
        said = f"refused   {', '.join(each.by) or 'no evidence about it'}" if each.refused else "LET PASS"
        print(f"  {each.exhibit.name:<22} {said}")
    let = [each for each in test.clean if not each.refused]
    print(f"{len(let)} of {len(test.clean)} clean ones passed; at least {CLEAN_MIN:.0%} have to")
    for each in test.clean:
        if each.refused:
            print(f"  {each.exhibit.name:<22} refused   {', '.join(each.by)}")
