"""Commands for auditors: export and verify. `verify` needs nothing but the wheel."""

import argparse
from pathlib import Path

from pruneguard.cli.arguments import Commands, command, settings, show, with_json


def add(commands: Commands) -> None:
    audit = commands.add_parser("audit", help="export what happened, and verify an export offline")
    kinds = audit.add_subparsers(title="commands", metavar="COMMAND", required=True)
    export = with_json(
        command(kinds, "export", _export, "Write an archive that an outsider can check without trusting us.")
    )
    export.add_argument("model")
    export.add_argument("--out", type=Path, help="the archive (default: MODEL-audit.tar)")
    verify = with_json(
        command(
            kinds,
            "verify",
            _verify,
            "Check an archive offline: files, signatures, tree, every decision again from its evidence, artefacts.\n\n"
            "The exit code names the first level that fails (see `pruneguard --help`).",
        )
    )
    verify.add_argument("bundle", type=Path)
    verify.add_argument("--held", type=Path, metavar="CHECKPOINT", help="a checkpoint you kept from an earlier look")


def _export(args: argparse.Namespace) -> int:
    from pruneguard import home
    from pruneguard.audit.export import export

    known = settings()
    out = args.out or Path(f"{args.model}-audit.tar")
    digest = export(home.read_ledger(known), home.artifacts(known), model=args.model, out=out)
    if args.json:
        show({"bundle": str(out), "digest": digest, "bytes": out.stat().st_size})
    else:
        print(f"{out}: {out.stat().st_size:,} bytes, {digest}\nnext: pruneguard audit verify {out}")
    return 0


def _verify(args: argparse.Namespace) -> int:
    from pruneguard.audit.verify import verify

    report = verify(args.bundle, held=args.held)
    if args.json:
        show(report.to_document())
        return int(report.exit_code)
    for check in report.checks:
        where = f" at {check.place}" if check.place else ""
        why = f": {check.detail}" if check.detail else ""
        print(f"{'ok  ' if check.ok else 'FAIL'} {check.level:<10} {check.what}{where}{why}")
    print(f"{args.bundle}: {'verified' if report.ok else 'NOT verified'}; guarantee: {report.guarantee}")
    return int(report.exit_code)
