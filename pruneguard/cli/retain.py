"""The command that drops what is past its period: privacy retain."""

import argparse
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pruneguard.cli.arguments import Commands, command, service, settings, show, signer, with_json, with_key
from pruneguard.errors import InvalidInputError

if TYPE_CHECKING:
    from pruneguard.privacy.retention import Dropped, Standing


def add(commands: Commands) -> None:
    """Add the command to those of `privacy`."""
    retain = with_json(
        command(
            commands,
            "retain",
            _retain,
            "Drop the bodies and artefacts of records past their period. Their hashes stay, so every proof holds.\n\n"
            "Only what monitors observed is ever dropped; decisions are what state is made of. The same command after\n"
            "an interruption goes on where it stopped.",
        )
    )
    retain.add_argument("--dry-run", action="store_true", help="only print what would go")
    retain.add_argument("--as-of", type=_day, metavar="YYYY-MM-DD", help="as on that day; in the future with --dry-run")
    retain.add_argument(
        "--schedule", type=Path, metavar="FILE", help="your own periods (default: policies/retention.yaml)"
    )
    with_key(retain, "root")


def _retain(args: argparse.Namespace) -> int:
    from pruneguard import home
    from pruneguard.privacy import retention

    known, now = settings(), datetime.now(UTC)
    as_of = args.as_of or now
    if as_of > now and not args.dry_run:
        raise InvalidInputError(f"{as_of:%Y-%m-%d} is to come; look at it with --dry-run, drop nothing before its time")
    schedule = service("policies.retention").load_schedule(*([args.schedule] if args.schedule else []))
    if args.dry_run:
        standings, dropped = retention.survey(home.read_ledger(known).state(), schedule, as_of=as_of), []
    else:
        ledger, person = home.open_ledger(known), signer(args, known)
        standings = retention.survey(ledger.state(), schedule, as_of=as_of)
        dropped = list(retention.apply(ledger, home.artifacts(known), schedule, as_of=as_of, signer=person))
    if args.json:
        show({"classes": [_row(standing) for standing in standings], "dropped": [_went(drop) for drop in dropped]})
        return 0
    for line in _table(standings):
        print(line)
    for drop in dropped:
        print(f"{drop.record_class}: {drop.bodies:,} bodies, {drop.artifacts:,} artefacts dropped (event {drop.index})")
    if not dropped:
        print("nothing was dropped")
    return 0


def _day(text: str) -> datetime:
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no day; expected YYYY-MM-DD") from error


def _row(standing: "Standing") -> dict[str, Any]:
    from pruneguard.privacy.retention import count

    return {
        "class": standing.record_class.value,
        "months": standing.months,
        "before": standing.before,
        "entries": standing.entries,
        "past": count(standing.past),
        "due": count(standing.due),
        "holds": list(standing.holds),
    }


def _went(dropped: "Dropped") -> dict[str, Any]:
    return {
        "event": dropped.index,
        "class": dropped.record_class.value,
        "bodies": dropped.bodies,
        "artifacts": dropped.artifacts,
    }


def _table(standings: Sequence["Standing"]) -> Iterator[str]:
    yield f"{'class':<12}{'kept for':<12}{'past if before':<16}{'entries':>10}{'past':>10}{'due':>10}  legal holds"
    for standing in standings:
        row = _row(standing)
        months = f"{row['months']} months"
        counted = f"{row['entries']:>10,}{row['past']:>10,}{row['due']:>10,}"
        yield f"{row['class']:<12}{months:<12}{row['before'][:10]:<16}{counted}  {', '.join(row['holds']) or 'none'}"
