"""`gates test`: do the gates still refuse what they must?"""

import argparse

from pruneguard.cli.arguments import Commands, command, service, show, with_json
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
            "measured here: some minutes. Nothing is recorded.",
        )
    )
    sub.add_argument(
        "--policy", default="standard", metavar="NAME|FILE", help="the policy on trial (default: standard)"
    )
    sub.add_argument("--artefacts", action="store_true", help="with real artefacts, bad and clean")
    sub.add_argument("--seed", type=int, default=1, help="what the artefacts are made from (default: 1)")


def _test(args: argparse.Namespace) -> int:
    policy = service("policies.document").load_policy(args.policy)
    held = self_test(policy)
    artefacts = _artefacts(policy, args) if args.artefacts else None
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
