"""Commands for auditors: export and verify. `verify` needs nothing but the wheel."""

import argparse
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from pruneguard.cli import anchors, attach, lineage
from pruneguard.cli.arguments import Commands, command, service, settings, show, with_json
from pruneguard.errors import InvalidInputError

if TYPE_CHECKING:
    from pruneguard.audit.report import Report


def add(commands: Commands) -> None:
    audit = commands.add_parser("audit", help="export what happened, and verify an export offline")
    kinds = audit.add_subparsers(title="commands", metavar="COMMAND", required=True)
    attach.add(kinds)
    lineage.add(kinds)
    export = with_json(
        command(
            kinds,
            "export",
            _export,
            "Write an archive that an outsider can check without trusting us.\n\n"
            "It holds the whole log. The span selects the decisions about the model whose proofs, documents,\n"
            "attestations and model files go with it; what the versions of that time rest on is always among them.\n"
            "The same selection gives the same bytes. The ledger's own key signs it, so this runs where the key is.",
        )
    )
    export.add_argument("name", nargs="?", metavar="MODEL", help="the model")
    export.add_argument("--model", help="the model")
    export.add_argument("--from", dest="start", metavar="TIME", help="a day or an RFC 3339 time in UTC; included")
    export.add_argument("--to", dest="end", metavar="TIME", help="likewise; not included")
    export.add_argument(
        "--framework",
        metavar="NAMES",
        help="which controls to assess, with commas (default: nist-ai-rmf,iso-42001,eu-ai-act); none for no framework",
    )
    export.add_argument("--out", type=Path, help="the archive (default: MODEL-audit.tar)")
    verify = with_json(
        command(
            kinds,
            "verify",
            _verify,
            "Check an archive offline: files, signatures, tree, anchoring, every decision again from its evidence,\n"
            "artefacts, completeness.\n\n"
            "The exit code names the first level that fails (see `pruneguard --help`).",
        )
    )
    verify.add_argument("bundle", type=Path)
    anchors.add_verify_options(verify)
    verify.add_argument(
        "--answering",
        action="append",
        default=[],
        metavar="DIGEST",
        help="a model that you saw answer requests: the log must have given it traffic (again for more)",
    )
    verify.add_argument("--tree-only", action="store_true", help="files, the log's signatures, tree and anchoring only")


def _export(args: argparse.Namespace) -> int:
    from pruneguard import held, home
    from pruneguard.audit import signing
    from pruneguard.audit.export import Keys, export
    from pruneguard.audit.selection import moment
    from pruneguard.ledger.keys import load_log_key
    from pruneguard.witness.cosigned import Cosigned, bundle_files

    if (args.name is None) is (args.model is None):
        raise InvalidInputError("name one model: `pruneguard audit export MODEL`, or --model MODEL")
    model = args.model or args.name
    out = args.out or Path(f"{model}-audit.tar")
    names = None if args.framework is None else args.framework.split(",")
    frameworks = {} if names == ["none"] else service("policies.framework").load_frameworks(names)
    known = settings()
    keys = Keys(load_log_key(known.keys_dir / "log.key"), signing.key_at(known.keys_dir / "model-signing.pem"))
    ledger = home.read_ledger(known)
    held.Shelf(known.held_dir).follow(ledger)
    digest = export(
        ledger,
        home.artifacts(known),
        keys=keys,
        model=model,
        out=out,
        start=None if args.start is None else moment(args.start),
        end=None if args.end is None else moment(args.end),
        frameworks=frameworks,
        anchors=bundle_files(Cosigned(known.cosigned), known.read_trust_policy(), ledger),
    )
    if args.json:
        show({"bundle": str(out), "digest": digest, "bytes": out.stat().st_size})
    else:
        print(f"{out}: {out.stat().st_size:,} bytes, {digest}\nnext: pruneguard audit verify {out}")
    return 0


def _verify(args: argparse.Namespace) -> int:
    from pruneguard.audit.verify import verify
    from pruneguard.ledger.shapes import is_digest

    if other := [name for name in args.answering if not is_digest(name)]:
        raise InvalidInputError(f"--answering {other[0]!r} is no digest; expected sha256: and 64 hexadecimal digits")
    report = verify(
        args.bundle,
        memory=anchors.memory(args),
        trust=anchors.trust(args),
        age_seconds_max=anchors.age_seconds_max(args),
        answering=args.answering,
        tree_only=args.tree_only,
    )
    if args.json:
        show(report.to_document())
    else:
        _print(args.bundle, report)
    return int(report.exit_code)


def _print(bundle: Path, report: "Report") -> None:
    for level, checks in groupby(report.checks, lambda check: check.level):
        print(level)
        for check in checks:
            where = f"\n         at {check.place}" if check.place else ""
            why = f"\n         {check.detail}" if check.detail else ""
            print(f"  {'ok  ' if check.ok else 'FAIL'}  {check.what}{where}{why}")
    if report.absent:
        print(
            f"absent by policy: {report.absent:,} entries whose bodies retention dropped; their hashes are in the tree"
        )
    for what in report.unchecked:
        print(f"not checked: {what}")
    print(f"log: {report.log or 'no key that can be read'}; compare it with the one you know")
    print(f"{bundle}: {'verified' if report.ok else 'NOT verified'}; guarantee: {report.guarantee}")
    for remark in report.remarks:
        print(f"  {remark}")
