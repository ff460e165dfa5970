"""`pruneguard export`, `pruneguard import`: a released version elsewhere, and what was seen there."""

import argparse
from pathlib import Path
from typing import Any

from pruneguard.cli.arguments import Commands, command, settings
from pruneguard.errors import InvalidInputError


def add(commands: Commands) -> None:
    export = commands.add_parser("export", help="a released version for Triton, KServe or a device")
    kinds = export.add_subparsers(title="commands", metavar="COMMAND", required=True)
    triton = command(
        kinds,
        "triton",
        _triton,
        "A Triton model repository, in OUTPUT/models.\n\n"
        "Only what is approved, canary or live, under the gateway's own admission. OUTPUT/release says which release\n"
        "it is and what it rests on: policy, verdict, the ledger's position and the proofs of each decision.",
    )
    kserve = command(
        kinds,
        "kserve",
        _kserve,
        "A Triton model repository, and the KServe InferenceService that runs it.\n\n"
        "Put OUTPUT/models where --storage-uri points to, then `kubectl apply -f OUTPUT/inferenceservice.yaml`. A\n"
        "canary gets the share that the ledger gives it, an approved release 0 %; KServe leaves the rest with what\n"
        "ran before.",
    )
    kserve.add_argument(
        "--storage-uri", required=True, metavar="URI", help="s3://, gs://, pvc://: where the models lie"
    )
    kserve.add_argument("--name", default="", help="of the InferenceService (default: the model's)")
    kserve.add_argument("--canary-percent", type=int, help="another share than the ledger gives")
    edge = command(
        kinds,
        "edge",
        _edge,
        "A folder for a device: ONNX, what it rests on, and a program that needs onnxruntime and numpy alone.\n\n"
        "The program checks every digest, answers, and keeps sealed observations, which `pruneguard import edge`\n"
        "takes in. It asks for the digest that is printed here: tell it the device another way than by the folder.",
    )
    for sub in (triton, kserve, edge):
        sub.add_argument("--model", required=True)
        sub.add_argument("--number", type=int, help="which release (default: the live one)")
        sub.add_argument("--output", type=Path, required=True, metavar="DIR", help="a new folder")
    taken = commands.add_parser("import", help="observations from elsewhere, checked")
    sources = taken.add_subparsers(title="commands", metavar="COMMAND", required=True)
    observed = command(
        sources,
        "edge",
        _observed,
        "Take in the observations that a device kept.\n\n"
        "The folder is that of the export, or one with its `release` and `observations`. Each line must name the one\n"
        "before by its digest, and the first go on where the last import from the device ended: what was changed,\n"
        "taken out or left behind is named (exit code 3), and nothing is taken in.",
    )
    observed.add_argument("folder", type=Path)


def _triton(args: argparse.Namespace) -> int:
    from pruneguard.elsewhere import exporting

    return _export(args, exporting.to_triton)


def _kserve(args: argparse.Namespace) -> int:
    from pruneguard.elsewhere import exporting

    return _export(
        args, exporting.to_kserve, storage=args.storage_uri, name=args.name, canary_percent=args.canary_percent
    )


def _edge(args: argparse.Namespace) -> int:
    from pruneguard.elsewhere import exporting

    return _export(args, exporting.to_edge)


def _export(args: argparse.Namespace, how: Any, **told: Any) -> int:
    from pruneguard import held, home
    from pruneguard.serving import chosen

    known = settings()
    ledger, artifacts = home.read_ledger(known), home.artifacts(known)
    held.Shelf(known.held_dir).follow(ledger)
    picked = chosen.released(ledger, artifacts, model=args.model, number=args.number)
    digest = how(ledger, artifacts, picked, args.output, **told)
    print(f"{args.output}: {args.model} {picked.release.number} ({picked.release.status}), {picked.release.digest}")
    print(f"it rests on {picked.size} entries of {picked.origin}; its release.json is")
    print(digest)
    return 0


def _observed(args: argparse.Namespace) -> int:
    from pruneguard import home
    from pruneguard.elsewhere import collecting, exporting

    about = args.folder / exporting.RELEASE
    given = sorted((args.folder / "observations").glob("*.jsonl"))
    if not about.is_file() or not given:
        raise InvalidInputError(f"{args.folder}: expected {exporting.RELEASE} and observations/*.jsonl in it")
    known = settings()
    state = home.read_ledger(known).state()
    done = collecting.collect(known.observations / "edge", state, about.read_bytes(), given)
    print(f"{done.rows} new rows answered by {done.release.model} {done.release.number} on {', '.join(done.devices)}")
    if done.known:
        print(f"{done.known} files were taken in before")
    return 0
