"""Commands that make things happen: demo, search, run, up, rollback."""

import argparse
import os
from pathlib import Path

from pruneguard.cli.arguments import (
    PASSPHRASE,
    Commands,
    command,
    key_file,
    passphrase,
    service,
    settings,
    signer,
    with_json,
    with_key,
)


def add(commands: Commands) -> None:
    demo = command(commands, "demo", _demo, "The whole lifecycle on bundled data, from nothing to an audit bundle.")
    demo.add_argument("--no-serve", action="store_true", help="end after the table instead of leaving it running")
    search = with_json(
        command(
            commands,
            "search",
            _search,
            "Find the smallest version of a network that its policy lets pass.\n\n"
            "Recipes and ratios are tried where they can still win; a candidate goes at its first certain failure.\n"
            "What was tried, what passed and why is printed, drawn and recorded. The release split stays closed:\n"
            "`pruneguard run` with the same manifest opens it, and goes on from here. If interrupted, the same\n"
            "command resumes. Which methods there are: `pruneguard methods`.\n\n"
            "Exit code 1 when nothing passes; then it says which candidate came nearest, and what stopped it.",
        )
    )
    search.add_argument("manifest", type=Path, help="a manifest, for instance examples/fashion_mnist/manifest.yaml")
    with_key(search, "ada")
    run = command(
        commands,
        "run",
        _run,
        "Walk a manifest through the lifecycle: admit, train, search, judge, propose.\n\n"
        "The same command after an interruption goes on where the run stopped. It ends with a proposed release;\n"
        "somebody who did not make it approves it with `pruneguard approve`, and `pruneguard up` serves it.",
    )
    run.add_argument("manifest", type=Path, help="a manifest, for instance examples/fashion_mnist/manifest.yaml")
    with_key(run, "ada")
    up = command(
        commands,
        "up",
        _up,
        "Serve what the ledger says is live: gateway, monitor, metrics and dashboard, until Ctrl-C.",
    )
    up.add_argument("--no-dashboard", action="store_true", help="leave the dashboard out")
    rollback = command(
        commands,
        "rollback",
        _rollback,
        "Return to the version that was live before.\n\n"
        "Where a canary runs, it is taken out of traffic; else the live version gives way to the one before it.\n"
        "One operator is enough. Every gateway follows within a second.",
    )
    rollback.add_argument("model")
    rollback.add_argument("--reason", required=True, help="why; it stands in the audit trail")
    with_key(rollback, "otto")


def _demo(args: argparse.Namespace) -> int:
    return int(service("flows.demo").main(settings(), serve=not args.no_serve))


def _search(args: argparse.Namespace) -> int:
    return _walk(args, release=False, machine=args.json)


def _run(args: argparse.Namespace) -> int:
    return _walk(args, release=True, machine=False)


def _walk(args: argparse.Namespace, *, release: bool, machine: bool) -> int:
    known = settings()
    path = key_file(args, known)
    if (given := passphrase(path, known)) is not None:
        # The flow reads settings and key itself, so that the engine records neither; its children are not told.
        os.environ[PASSPHRASE] = given.decode()
    flow = service("flows.retrain_and_prune")
    return int(flow.main(args.manifest, known, key=path, release=release, machine=machine))


def _up(args: argparse.Namespace) -> int:
    return int(service("flows.service").main(settings(), dashboard=not args.no_dashboard))


def _rollback(args: argparse.Namespace) -> int:
    from pruneguard import home, releases

    known = settings()
    ledger = home.open_ledger(known)
    person = signer(args, known)
    done = releases.roll_back(ledger, model=args.model, reason=args.reason, actor=person.actor, signer=person)
    data = done.event.data
    print(f"{args.model}: version {data['number']} rolled back, version {data['to']} answers (event {done.index})")
    return 0
