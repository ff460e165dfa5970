"""The command line: `pruneguard COMMAND`. What each command does lies below it; here is only how it ends."""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence

from pruneguard import __version__
from pruneguard.cli import (
    analyse,
    audit,
    elsewhere,
    gates,
    govern,
    methods,
    observations,
    observe,
    operate,
    policy,
    privacy,
    score,
    tokens,
    traffic,
    validate,
    witness,
)
from pruneguard.errors import PruneGuardError, UnavailableError

NEEDS_SERVICE = (
    "this command needs the service, and {!r} is not installed here; run it in a checkout set up with `make venv` "
    "(the wheel alone verifies bundles)"
)

EPILOG = """\
exit codes:
  0    done; the answer is yes
  1    done; the answer is no (nothing passed the policy, a check of `doctor` failed)
  2    what you gave is malformed or not allowed
  3    bytes and record disagree: stop and investigate
  4    something we depend on is absent, down or taken
  10   audit verify: a file is not what the manifest says
  11   audit verify: a signature does not hold
  12   audit verify: the tree does not hold
  13   audit verify: the log does not continue what was seen or cosigned, or too few witnesses saw it
  14   audit verify: a decision does not follow from its evidence, or a rule was broken
  15   audit verify, audit recompute-lineage: an artefact is not what the ledger says
  16   audit verify: something that the ledger leads to is missing, or something is there that it does not lead to
  130  interrupted

Every setting is an environment variable PRUNEGUARD_*; `pruneguard doctor` lists them with their values.
"""


def parser() -> argparse.ArgumentParser:
    """All commands, with their help."""
    top = argparse.ArgumentParser(
        prog="pruneguard",
        description="Puts pruned PyTorch models into production and answers for them.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"pruneguard {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (
        operate,
        analyse,
        validate,
        methods,
        policy,
        gates,
        govern,
        traffic,
        tokens,
        observe,
        observations,
        score,
        elsewhere,
        audit,
        witness,
        privacy,
    ):
        module.add(commands)
    return top


def hear_interrupts() -> None:
    """From now on a Ctrl-C that lands in a finaliser, where Python swallows it, is heard a moment later."""
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _unraisable


def _unraisable(what: "sys.UnraisableHookArgs") -> None:
    if issubclass(what.exc_type, KeyboardInterrupt):
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(what)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; an error that we raise on purpose is one line on stderr."""
    args = parser().parse_args(argv)
    hear_interrupts()
    try:
        return int(args.command(args))
    except PruneGuardError as error:
        print(f"pruneguard: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("pruneguard: interrupted; the same command starts again, or goes on where a run stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # whoever read us went away, and Python would complain about it at exit
        return 0
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "pruneguard":
            raise
        print(f"pruneguard: {NEEDS_SERVICE.format(error.name)}", file=sys.stderr)
        return UnavailableError.exit_code
    except OSError as error:  # a full disk, a folder that nobody may write to: whichever step met it
        place = f"{error.filename}: " if error.filename else ""
        print(f"pruneguard: {place}{error.strerror or error}; make room there or give access to it", file=sys.stderr)
        return UnavailableError.exit_code
