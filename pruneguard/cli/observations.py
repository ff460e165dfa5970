"""Commands about what was answered: observations list, sql, export."""

import argparse
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from pruneguard.cli.arguments import Commands, command, settings, show, with_json

if TYPE_CHECKING:
    from pruneguard.serving.segments import Segment


def add(commands: Commands) -> None:
    observations = commands.add_parser("observations", help="what was answered, as sealed and named by the ledger")
    kinds = observations.add_subparsers(title="commands", metavar="COMMAND", required=True)

    listed = with_json(command(kinds, "list", _list, "List the sealed windows, oldest first."))
    _with_choice(listed)

    sql = command(
        kinds,
        "sql",
        _sql,
        "Print views for DuckDB over the windows where they lie: `observations`, with labels, and `labels`.\n\n"
        "  pruneguard observations sql > views.sql\n"
        "  duckdb -init views.sql -c 'SELECT model, version, avg((predicted = label)::INT)\n"
        "                             FROM observations GROUP BY ALL'",
    )
    _with_choice(sql)

    export = command(
        kinds,
        "export",
        _export,
        "Write the windows as one file, Parquet or CSV by its name. What lies there is never overwritten.",
    )
    export.add_argument("--output", type=Path, required=True, metavar="FILE", help="ends in .parquet or .csv")
    export.add_argument("--labels", action="store_true", help="the labels as they came, instead of what was answered")
    _with_choice(export)


def _with_choice(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("model", nargs="?", help="one model only")
    sub.add_argument("--version", type=int, metavar="NUMBER", help="one release only")


def _found(args: argparse.Namespace) -> "list[Segment]":
    from pruneguard import home
    from pruneguard.serving.segments import segments

    with closing(home.read_ledger(settings())) as ledger:
        return list(segments(ledger, model=args.model, number=args.version))


def _list(args: argparse.Namespace) -> int:
    found = _found(args)
    if args.json:
        show([{name: getattr(segment, name) for name in segment.__slots__} for segment in found])
        return 0
    for s in found:
        print(f"{s.time[:19]}Z  {s.model} {s.number}  window {s.batch:<5} {s.rows:>6} {s.kind:<12}  {s.digest}")
    if not found:
        print("nothing was sealed yet; a window is sealed when it has 500 rows, or a minute after its first answer")
    return 0


def _sql(args: argparse.Namespace) -> int:
    from pruneguard import home
    from pruneguard.serving.segments import views

    sys.stdout.write(views(_found(args), home.artifacts(settings())))
    return 0


def _export(args: argparse.Namespace) -> int:
    from pruneguard import home
    from pruneguard.serving.segments import Kind, export

    kind = Kind.LABELS if args.labels else Kind.OBSERVATIONS
    found = [segment for segment in _found(args) if segment.kind is kind]
    rows = export(found, home.artifacts(settings()), args.output)
    print(f"{rows} rows of {len(found)} windows in {args.output}")
    return 0
