"""What commands remember of ledgers and bundles, and whom an auditor believes."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pruneguard.errors import InvalidInputError, UnavailableError

if TYPE_CHECKING:
    from pruneguard import held
    from pruneguard.ledger.trust import TrustPolicy

_DAY = 24 * 3600


def add_verify_options(sub: argparse.ArgumentParser) -> None:
    """What `audit verify` goes by besides the bundle."""
    remembered = sub.add_mutually_exclusive_group()
    remembered.add_argument(
        "--held",
        type=Path,
        metavar="FILE",
        help="a checkpoint you kept from an earlier look (default: the one this command kept by itself)",
    )
    remembered.add_argument("--no-held", action="store_true", help="compare with no earlier look, and keep nothing")
    sub.add_argument(
        "--trust",
        type=Path,
        metavar="FILE",
        help="your own trust policy (C2SP tlog-policy): which witnesses count",
    )
    sub.add_argument(
        "--max-age", type=float, metavar="DAYS", help="count only cosignatures that are not older than this"
    )


def memory(args: argparse.Namespace) -> "held.Memory | None":
    """Where the checkpoint of an earlier look is found, and this one is kept.

    Apart from what the service's own commands saw: held is what an auditor verified, not what an export said before.
    """
    from pruneguard import held

    if args.no_held:
        return None
    if args.held is None:
        return held.Shelf(held.default_folder() / "verified")
    if not args.held.is_file():
        raise InvalidInputError(f"there is no file {args.held}; name the checkpoint you kept")
    return held.Kept(args.held)


def trust(args: argparse.Namespace) -> "TrustPolicy | None":
    """The auditor's own policy. Raises UnavailableError when there is no such file."""
    from pruneguard.ledger.trust import TrustPolicy

    if args.trust is None:
        return None
    try:
        return TrustPolicy.parse(args.trust.read_bytes())
    except OSError as error:
        raise UnavailableError(f"{args.trust} cannot be read: {error.strerror}; name your trust policy") from error


def age_seconds_max(args: argparse.Namespace) -> int | None:
    return None if args.max_age is None else int(args.max_age * _DAY)
