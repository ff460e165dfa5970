"""`analyse`: what a network bears, before a search and beside it. Nothing is recorded."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pruneguard.cli.arguments import Commands, command, settings, show, with_json
from pruneguard.errors import InvalidInputError

if TYPE_CHECKING:
    from pruneguard.analysis.pages import Analysis
    from pruneguard.analysis.subject import Subject
    from pruneguard.manifest import Manifest
    from pruneguard.pruning.recipe import Recipe

Measure = Callable[["Subject", argparse.Namespace], "Analysis"]


def add(commands: Commands) -> None:
    top = command(
        commands,
        "analyse",
        _analyse,
        "What a network bears: layer by layer, over ratios and seeds, and against chance.\n\n"
        "Everything is tried on the gate split; the release split stays closed. The twin is the one that a run of the\n"
        "same manifest has trained here, or is trained anew. Nothing is recorded: an analysis is no evidence.",
    )
    top.add_argument("manifest", type=Path, help="a manifest, for instance examples/digits/manifest.yaml")
    kinds = top.add_subparsers(title="analyses", metavar="ANALYSIS", required=True)
    sensitivity = _kind(
        kinds,
        "sensitivity",
        _sensitivity,
        "What each layer loses when only it is cut, at several ratios, without training.\n\n"
        "Without --recipe every kind of part is cut that the network has, and every tensor of weights.",
    )
    _with_ratios(sensitivity)
    _kind(
        kinds,
        "ablation",
        _ablation,
        "What the network loses without one head, block, expert or group, without training.",
    )
    sweep = _kind(
        kinds,
        "sweep",
        _sweep,
        "Recipes over ratios and seeds, trained, and the Pareto front: accuracy, measured time, weights.\n\n"
        "Without --recipe all recipes of the manifest.",
    )
    controls = _kind(
        kinds,
        "controls",
        _controls,
        "Does the recipe earn its keep? Beside it: chance, training from scratch, training the twin longer.\n\n"
        "Without --recipe the manifest's first. Five seeds or more can show a difference; fewer can only suggest one.",
    )
    for sub in (sweep, controls):
        _with_ratios(sub)
        sub.add_argument("--seeds", type=int, metavar="N", help="how many seeds, counted up from the manifest's (3)")
        sub.add_argument("--epochs", type=int, metavar="N", help="fine-tuning, instead of the manifest's")


def _kind(kinds: Commands, name: str, measure: Measure, text: str) -> argparse.ArgumentParser:
    sub = with_json(command(kinds, name, _analyse, text))
    sub.set_defaults(measure=measure)
    sub.add_argument("--recipe", metavar="NAME", help="a recipe of the manifest")
    sub.add_argument("--out", type=Path, metavar="FILE.html", help="draw it, as a page that stands alone")
    return sub


def _with_ratios(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--ratios", type=float, nargs="+", metavar="SHARE", help="shares to take away, above 0, below 1")


def _analyse(args: argparse.Namespace) -> int:
    import torch

    from pruneguard import files
    from pruneguard.analysis import pages, subject
    from pruneguard.cli.terminal import Terminal
    from pruneguard.manifest import load_manifest

    known, manifest = settings(), load_manifest(args.manifest)
    _require(args, manifest)
    if known.training_threads:
        torch.set_num_threads(known.training_threads)
    with Terminal(stderr=args.json) as terminal:
        found = args.measure(subject.subject(manifest, known), args)
        if args.out:
            with files.appearing(args.out, replace=True) as partial:
                partial.write_bytes(pages.page(found))
        if not args.json:
            _tell(found, terminal)
        if args.out:
            terminal.say(f"drawn in {args.out}")
    if args.json:
        show(found.to_document())
    return 0


def _require(args: argparse.Namespace, manifest: "Manifest") -> None:
    """What can be refused before minutes are spent on it."""
    from pruneguard.analysis.subject import require_count, require_ratios, require_recipe

    if args.recipe is not None:
        require_recipe(manifest, args.recipe)
    if getattr(args, "ratios", None) is not None:
        require_ratios(args.ratios)
    for name in ("seeds", "epochs"):
        if getattr(args, name, None) is not None:
            require_count(getattr(args, name), what=name)
    if args.out and args.out.is_dir():
        raise InvalidInputError(
            f"{args.out} is a folder; expected the path of a page, such as {args.out / 'page.html'}"
        )


def _sensitivity(subject: "Subject", args: argparse.Namespace) -> "Analysis":
    from pruneguard.analysis import sensitivity

    return sensitivity.measure(subject, recipe=_recipe(subject, args), **_given(args, "ratios"))


def _ablation(subject: "Subject", args: argparse.Namespace) -> "Analysis":
    from pruneguard.analysis import ablation

    return ablation.measure(subject, recipe=_recipe(subject, args))


def _sweep(subject: "Subject", args: argparse.Namespace) -> "Analysis":
    from pruneguard.analysis import sweep

    recipe = _recipe(subject, args)
    recipes = subject.manifest.recipes if recipe is None else (recipe,)
    return sweep.measure(subject, recipes=recipes, **_given(args, "ratios", "seeds", "epochs"))


def _controls(subject: "Subject", args: argparse.Namespace) -> "Analysis":
    from pruneguard.analysis import controls

    recipe = _recipe(subject, args) or subject.manifest.recipes[0]
    return controls.measure(subject, recipe, **_given(args, "ratios", "seeds", "epochs"))


def _recipe(subject: "Subject", args: argparse.Namespace) -> "Recipe | None":
    return None if args.recipe is None else subject.recipe(args.recipe)


def _given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The options that somebody gave; the others have their defaults below."""
    return {name: value for name in names if (value := getattr(args, name)) is not None}


def _tell(found: "Analysis", terminal: Any) -> None:
    from rich.table import Table

    from pruneguard.analysis import pages

    terminal.step(f"{found.model}: {type(found).__name__.lower()}")
    terminal.say(pages.ground(found))
    for grid in pages.grids(found):
        shown = Table(title=grid.caption, title_justify="left", box=None, padding=(0, 2, 0, 0))
        for number, name in enumerate(grid.head):
            shown.add_column(name, justify="left" if number == 0 or not name else "default", overflow="fold")
        for row in grid.rows:
            shown.add_row(*row)
        terminal.console.print()
        terminal.console.print(shown, markup=False)
    terminal.console.print()
    for sentence in pages.sentences(found):
        terminal.say(sentence)
