"""What several commands share: their arguments, and how they print."""

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pruneguard.errors import InvalidInputError

if TYPE_CHECKING:
    from pruneguard.ledger.keys import Signer
    from pruneguard.settings import Settings

PASSPHRASE = "PRUNEGUARD_PASSPHRASE"  # noqa: S105  # the variable's name
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
    """The person who acts. Asks for the passphrase where their key file has one."""
    from pruneguard.ledger.keys import load_signer

    path = key_file(args, settings)
    return load_signer(path, passphrase=passphrase(path, settings))


def passphrase(path: Path, settings: "Settings") -> bytes | None:
    """What opens a key file: None where nothing is needed, else the setting, else what is typed at the terminal."""
    from pruneguard.ledger.keys import is_locked

    if not is_locked(path):
        return None
    if given := settings.passphrase.get_secret_value():
        return given.encode()
    _require_terminal(f"{path} is locked with a passphrase")
    return getpass(f"passphrase of {path}: ").encode()


def new_passphrase(path: Path, settings: "Settings", *, none: bool) -> bytes | None:
    """What a new key file is to be locked with; None for an open one, asked for with `none` or an empty line."""
    if none:
        return None
    if given := settings.passphrase.get_secret_value():
        return given.encode()
    _require_terminal(f"{path} is to be locked with a passphrase (or --no-passphrase)")
    given = getpass(f"new passphrase of {path} (empty for none): ")
    if given != getpass("once more: "):
        raise InvalidInputError("the two passphrases differ; nothing was changed, try again")
    return given.encode() or None


def _require_terminal(why: str) -> None:
    if not sys.stdin.isatty():
        raise InvalidInputError(f"{why}, and nobody is at a terminal to be asked; set {PASSPHRASE}")


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
