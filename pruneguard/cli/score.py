"""`pruneguard score`: a file of rows, answered by the version that the ledger lets answer."""

import argparse
from pathlib import Path

from pruneguard.cli.arguments import Commands, command, settings, show, with_json


def add(commands: Commands) -> None:
    score = with_json(
        command(
            commands,
            "score",
            _score,
            "Answer every row of a CSV or Parquet file by a released version.\n\n"
            "  pruneguard score --model digits --input rows.parquet --output answers.parquet --keep id\n\n"
            "Under the gateway's own admission: digests, verdict, approvals, waivers; and again before each block.\n"
            "Columns are taken as named by --column; else one column `input` that holds lists nested as the model's\n"
            "input is (in a CSV as JSON), else feature_0, feature_1, ..., else all but those of --keep, in the file's\n"
            "order. A model's file names no features: that the order is right, only you can know.\n"
            "The output has the row's number, what is kept, the answer, version and digest of the model; it appears\n"
            "whole or not at all. Stopped or killed, the same command goes on where it was.\n\n"
            "Rows that are none (text, NaN, too few values) end the run and are named, or --skip-bad counts them.",
        )
    )
    score.add_argument("--model", required=True)
    score.add_argument("--number", type=int, help="which version of those that answer requests (default: the live one)")
    score.add_argument("--input", type=Path, required=True, metavar="FILE")
    score.add_argument("--output", type=Path, required=True, metavar="FILE", help="a new file, .csv or .parquet")
    score.add_argument(
        "--column", action="append", default=[], help="an input of the model, in its order; again for more"
    )
    score.add_argument(
        "--keep", action="append", default=[], metavar="COLUMN", help="copy to the output; again for more"
    )
    score.add_argument("--skip-bad", action="store_true", help="leave rows out that are none, and count them")
    score.add_argument("--restart", action="store_true", help="begin anew instead of going on with parts made before")


def _score(args: argparse.Namespace) -> int:
    from pruneguard import held, home
    from pruneguard.cli.terminal import Terminal
    from pruneguard.scoring import job
    from pruneguard.serving import chosen

    known = settings()
    ledger, artifacts = home.read_ledger(known), home.artifacts(known)
    held.Shelf(known.held_dir).follow(ledger)
    before = None if args.restart else job.begun(args.output)
    number = args.number if args.number is not None or before is None else before.number
    picked = chosen.answering(ledger, artifacts, model=args.model, number=number)

    def still() -> None:
        chosen.answering(ledger, artifacts, model=args.model, number=picked.release.number)

    with Terminal(stderr=args.json):
        done = job.score(
            args.input,
            args.output,
            picked,
            columns=args.column,
            keep=args.keep,
            skip_bad=args.skip_bad,
            restart=args.restart,
            threads=known.threads,
            still=still,
        )
    if args.json:
        show(
            {
                "output": str(done.output),
                "output_digest": done.output_digest,
                "source_digest": done.job.source,
                "model": done.job.model,
                "number": done.job.number,
                "digest": done.job.digest,
                "ledger": {"origin": done.ledger, "size": done.ledger_size},
                "rows": done.rows,
                "skipped": done.skipped,
                "bad": [{"row": row, "why": why} for row, why in done.bad],
                "resumed": done.resumed,
            }
        )
        return 0
    print(f"{done.output}: {done.rows} rows answered by {done.job.model} {done.job.number}, {done.job.digest}")
    if done.skipped:
        print(f"{done.skipped} rows left out: {'; '.join(f'row {row}: {why}' for row, why in done.bad[:5])}")
    if done.resumed:
        print(f"{done.resumed} parts were there from a call before")
    return 0
