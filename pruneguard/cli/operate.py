"""Commands that make things happen: demo, search, run, up."""

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
        "somebody who did not make it approves it with `pruneguard approve`, and `pruneguard up` serves it.\n\n"
        "A policy that names quality.cross_validated.paired has the recipe of each candidate that passes all else\n"
        "tried again on five folds of the train and gate rows: for small data, at five trainings of the twin once\n"
        "and five of each such candidate.",
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
