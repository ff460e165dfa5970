"""`methods`: what a recipe can ask for."""

import argparse
import textwrap

from pruneguard.cli.arguments import Commands, command, show, with_json

WIDTH = 112


def add(commands: Commands) -> None:
    sub = with_json(
        command(
            commands,
            "methods",
            _methods,
            "Every method that a recipe can ask for, with its parameters and the paper it is from.\n\n"
            "A manifest names recipes; a recipe is a list of steps:\n\n"
            "  recipes:\n"
            "    narrow-int8:\n"
            "      - prune: channels\n"
            "        criterion: taylor\n"
            "      - quantise: int8",
        )
    )
    sub.add_argument("name", nargs="?", help="only those whose name has this in it, for instance heads")


def _methods(args: argparse.Namespace) -> int:
    from pruneguard.pruning.recipe import METHODS

    chosen = [method for method in METHODS if (args.name or "") in f"{method.verb}: {method.what}"]
    if args.json:
        show([method.to_document() for method in chosen])
        return 0 if chosen else 1
    for method in chosen:
        print(f"- {method.verb}: {method.what}")
        print(_wrapped(f"{method.doc} {method.paper}."))
        for knob in method.knobs:
            print(_wrapped(f"{knob.name} ({knob.default}): {knob.doc}; {knob.expected}", hang=6))
        if method.searched:
            print(
                _wrapped(
                    "ratio (the search's): how much it takes away, where that is not for the search to say", hang=6
                )
            )
    if chosen:
        _tables()
    else:
        print(f"no method has {args.name!r} in its name; `pruneguard methods` lists all")
    return 0 if chosen else 1


def _tables() -> None:
    """What the knobs `criterion` and `budget` choose from, where the service is installed."""
    from pruneguard.pruning import criteria, masks

    print("\ncriteria, for parts:")
    for name, criterion in criteria.CRITERIA.items():
        print(_wrapped(f"{name}: {criterion.doc}. {criterion.paper}"))
    print("budgets, for weights:")
    for name, budget in masks.BUDGETS.items():
        print(_wrapped(f"{name}: {budget.doc}. {budget.paper}"))
    print(_wrapped(masks.PATTERN))


def _wrapped(text: str, *, hang: int = 4) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=" " * hang, subsequent_indent=" " * (hang + 2))
