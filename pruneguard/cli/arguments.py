"""What several commands share: their arguments, and how they print."""

import argparse
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pruneguard.ledger.keys import Signer
    from pruneguard.settings import Settings

Commands = Any  # argparse's own type for this is private
Command = Callable[[argparse.Namespace], int]


def command(commands: Commands, name: str, run: Command, text: str) -> argparse.ArgumentParser:
    """Add a command whose first line of help is `text`."""
    sub: argparse.ArgumentParser = commands.add_parser(
        name, help=text.splitlines()[0], description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sub.set_defaults(command=run)
    return sub


def with_json(sub: argparse.ArgumentParser) -> argparse.ArgumentParser:
    sub.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    return sub


def with_key(sub: argparse.ArgumentParser, default: str) -> argparse.ArgumentParser:
    sub.add_argument("--key", type=Path, metavar="FILE", help=f"your own key (default: {default}.key)")
    sub.set_defaults(key_default=default)
    return sub


def key_file(args: argparse.Namespace, settings: "Settings") -> Path:
    """The key given, or the one that `init --team` made for this role."""
    return args.key or settings.keys_dir / f"{args.key_default}.key"


def signer(args: argparse.Namespace, settings: "Settings") -> "Signer":
    """The person who acts."""
    from pruneguard.ledger.keys import load_signer

    return load_signer(key_file(args, settings))


def settings() -> "Settings":
    """The settings of this process. Imported here: with the auditor's wheel alone there are none."""
    return importlib.import_module("pruneguard.settings").load_settings()  # type: ignore[no-any-return]


def service(module: str) -> Any:
    """A module of the service, which lies in the checkout and not in the wheel.

    By name, because imports go down only: the command line is part of the core, the flows stand above it.
    """
    return importlib.import_module(module)


def show(document: Any) -> None:
    """Print a document as JSON for programs."""
    print(json.dumps(document, indent=2, ensure_ascii=False, default=str))
