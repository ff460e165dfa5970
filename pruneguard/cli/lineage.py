"""`audit recompute-lineage`: make pruned weights again out of the dense ones. For files, the wheel is enough."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pruneguard.cli.arguments import Commands, command, settings, show, with_json
from pruneguard.errors import IntegrityError, InvalidInputError

if TYPE_CHECKING:
    from pruneguard.ledger.events import Event
    from pruneguard.ledger.ledger import Ledger

ARTEFACTS = 15
"""The exit code of `audit verify` for an artefact that is not what the ledger says; the same question is asked here."""

_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class _Question:
    """The files to compare. `final` are the weights after fine-tuning, where they are given."""

    lineage: bytes
    start: bytes
    masks: bytes | None
    final: bytes | None


def add(kinds: Commands) -> None:
    sub = with_json(
        command(
            kinds,
            "recompute-lineage",
            _recompute,
            "Make pruned weights again out of the dense ones and their lineage, and compare bit for bit.\n\n"
            "  pruneguard audit recompute-lineage dense.safetensors lineage.json --final pruned.safetensors\n"
            "  pruneguard audit recompute-lineage --model digits --number 2      (out of this service's store)\n\n"
            "Neither torch nor anybody's code runs. Exit code 15 when something does not fit.",
        )
    )
    sub.add_argument("dense", nargs="?", type=Path, help="the dense weights (early ones, where a recipe rewinds)")
    sub.add_argument("lineage", nargs="?", type=Path, help="how they were cut: a prune-lineage/v1 document")
    sub.add_argument("--masks", type=Path, help="the masks, where single weights were pruned")
    sub.add_argument("--final", type=Path, help="the weights after fine-tuning: do they keep to the cut?")
    sub.add_argument("--model", help="a model of this service, instead of files")
    sub.add_argument("--number", type=int, help="its release")


def _recompute(args: argparse.Namespace) -> int:
    from pruneguard import canonical
    from pruneguard.pruning.lineage import decode
    from pruneguard.pruning.recomputing import departures, recompute

    files = args.dense is not None and args.lineage is not None
    of_files = (args.dense, args.lineage, args.masks, args.final)
    of_release = (args.model, args.number)
    if any(of_release) is any(of_files) or not (files or all(of_release)):
        raise InvalidInputError("give two files, DENSE and LINEAGE, or --model and --number of a release")
    told: dict[str, Any] = {"ok": False}
    try:
        question = _of_files(args) if files else _of_release(args.model, args.number)
        lineage = decode(question.lineage)
        told |= {
            "lineage": canonical.digest(question.lineage),
            "recipe": [dict(step) for step in lineage.recipe],
            "dense": lineage.dense,
            "start": lineage.start,
            "weights": lineage.weights,
            "sparsity": lineage.sparsity,
            "untouched": dict(lineage.untouched),
        }
        recompute(question.start, lineage, question.masks)
        final = question.final
        told["faults"] = [] if final is None else list(departures(final, lineage, question.masks))
    except IntegrityError as error:
        told["faults"] = [str(error)]
    told["ok"] = not told["faults"]
    if args.json:
        show(told)
    elif told["ok"]:
        kept = "" if question.final is None else "; the fine-tuned weights keep to the cut"
        print(f"the pruned weights are {told['weights']}, bit for bit, by lineage {told['lineage']}{kept}")
    else:
        for fault in told["faults"]:
            print(f"FAIL {fault}")
    return 0 if told["ok"] else ARTEFACTS


def _of_files(args: argparse.Namespace) -> _Question:
    return _Question(_read(args.lineage), _read(args.dense), _read(args.masks), _read(args.final))


def _read(path: Path | None) -> Any:
    try:
        return None if path is None else path.read_bytes()
    except OSError as error:
        raise InvalidInputError(f"{path}: {error.strerror}; name a file that can be read") from error


def _of_release(model: str, number: int) -> _Question:
    from pruneguard import home, releases
    from pruneguard.pruning.lineage import decode

    known = settings()
    ledger, artifacts = home.read_ledger(known), home.artifacts(known)
    release = releases.find_release(ledger.state(), model=model, number=number)
    made = _event(ledger, "model.pruned", release.digest)
    if made is None:
        raise InvalidInputError(f"{model} {number} is dense: nothing was cut; name a pruned release")
    content = artifacts.get(made.refs["lineage"])
    lineage = decode(content)
    trained = _event(ledger, "model.trained", made.refs["parent"])
    dense = {} if trained is None else trained.refs
    if "weights" in dense and (
        lineage.dense != dense["weights"]
        or lineage.start not in (dense["weights"], dense.get("early"), made.refs.get("start"))
    ):
        raise IntegrityError(
            f"the lineage starts from {lineage.start}; the log knows no such weights of the dense twin"
        )
    masks = None if lineage.stored is None else artifacts.get(lineage.stored)
    final = artifacts.get(made.refs["weights"]) if "weights" in made.refs else None
    return _Question(content, artifacts.get(lineage.start), masks, final)


def _event(ledger: "Ledger", kind: str, digest: str) -> "Event | None":
    """The event of this kind that made the model with this digest."""
    from pruneguard.ledger.events import Entry

    for start in range(0, ledger.size, _BLOCK):
        for raw in ledger.raw(start, min(start + _BLOCK, ledger.size)):
            if kind.encode() in raw or b'"payload"' in raw:  # an envelope hides what it holds
                event = Entry.decode(raw).event
                if event.type == kind and event.refs["model"] == digest:
                    return event
    return None
