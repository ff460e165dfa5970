"""`validate`: one model file against a policy, outside any run, for somebody's CI."""

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pruneguard.cli.arguments import Commands, command, service, settings, show, with_json
from pruneguard.errors import InvalidInputError
from pruneguard.verdict import Outcome

if TYPE_CHECKING:
    from pruneguard.documents import Place
    from pruneguard.validation.result import Validation


def add(commands: Commands) -> None:
    sub = with_json(
        command(
            commands,
            "validate",
            _validate,
            "Judge one ONNX file by a policy, against its dense twin: outside any run, for a CI job.\n\n"
            "  pruneguard validate model.onnx --twin dense.onnx --data rows.npz --policy mine.yaml --html page.html\n\n"
            "Rows come from a file, arrays x [n, ...] and y [n] (.npz) or a table (.csv, .parquet), or from the data\n"
            "of a workload: file.py:Class. Only what the policy asks for is measured. A file has no gradients, and a\n"
            "file of rows no training data: a rule about these has no evidence, and no evidence is never a pass.\n"
            "Leave a rule out by name where it cannot matter; every report says so.\n\n"
            "Nothing is recorded, and no ledger is needed.\n"
            "Exit code 0 passed, 1 refused, 2 what you gave cannot be judged.",
        )
    )
    sub.add_argument(
        "model", type=Path, metavar="MODEL.onnx", help="or its folder: then no file in it may run code when loaded"
    )
    sub.add_argument(
        "--twin",
        type=Path,
        metavar="DENSE.onnx",
        help="what it was pruned from; without one, whatever compares is no evidence (a dense one is its own twin)",
    )
    sub.add_argument("--data", required=True, metavar="ROWS", help="rows.npz, .csv, .parquet, or workload.py:Class")
    sub.add_argument("--policy", required=True, help="a shipped policy by name, or a YAML file")
    rows = sub.add_argument_group("rows")
    rows.add_argument("--split", choices=("train", "gate", "release"), help="of a workload (gate)")
    rows.add_argument("--data-dir", type=Path, metavar="DIR", help="where a workload looks (PRUNEGUARD_DATA_DIR)")
    rows.add_argument(
        "--kind", choices=("images", "table", "text"), help="of a file of rows (images where 4-D, else table)"
    )
    rows.add_argument("--label", default="y", metavar="COLUMN", help="of a table: the class from 0, or the number (y)")
    near = "of models that answer with a number: how near to the label is right"
    rows.add_argument("--tolerance", type=float, metavar="NUMBER", help=near)
    for flag, text in REPEATED.items():
        rows.add_argument(f"--{flag}", action="append", default=[], metavar="COLUMN", help=text)
    left = "do not judge by this rule, nor by those below it (robustness: robustness.*); again for another"
    sub.add_argument("--leave-out", action="append", default=[], metavar="RULE", help=left)
    sub.add_argument("--seed", type=int, default=0, help="of whatever is drawn (0)")
    reports = sub.add_argument_group("reports, written over what is there")
    for name, what in REPORTS.items():
        reports.add_argument(f"--{name}", type=Path, metavar="FILE", help=what)


REPEATED: Mapping[str, str] = {
    "slice": "of a table: no feature, but groups of rows to look at alone; again for another",
    "protected": "a slice by which nobody may be treated worse; again for another",
}
REPORTS: Mapping[str, str] = {
    "junit": "JUnit XML: a test case for each rule",
    "sarif": "SARIF 2.1.0: a result for each refusal, at the policy's line",
    "markdown": "for a job's summary or a comment",
    "html": "a page with plots that stands alone and prints",
}


def _validate(args: argparse.Namespace) -> int:
    outputs = {name: path for name in REPORTS if (path := getattr(args, name)) is not None}
    for path in outputs.values():
        _require_writable(path)
    from pruneguard.cli.terminal import Terminal
    from pruneguard.validation.folder import model_in
    from pruneguard.validation.validating import Request, validate

    documents = service("policies.document")
    policy_file = _policy_file(args.policy, documents.SHIPPED)
    model = model_in(args.model) if args.model.is_dir() else args.model
    _require_apart(outputs, (model, args.twin or model, Path(args.data), policy_file))
    draft = documents.read_policy(args.policy)
    if draft.policy is None:
        raise InvalidInputError(draft.objections[0])
    request = Request(
        model=model,
        twin=args.twin,
        data=args.data,
        policy=draft.policy,
        policy_file=policy_file,
        data_dir=args.data_dir or settings().data_dir,
        split=args.split,
        kind=args.kind,
        label=args.label,
        slices=tuple(args.slice),
        protected=tuple(args.protected),
        left_out=tuple(args.leave_out),
        seed=args.seed,
        tolerance=args.tolerance,
    )
    with Terminal(stderr=args.json) as terminal:
        if model != args.model:
            terminal.say(f"{args.model}: nothing in this folder would run or reach out when it is loaded")
        found = validate(request)
        for name, path in outputs.items():
            _write(path, _rendered(found, name, {rule: _nearest(places) for rule, places in draft.places.items()}))
        if not args.json:
            _tell(found, terminal.say)
        for path in outputs.values():
            terminal.say(f"written: {path}")
    if args.json:
        show(found.to_document())
    return 0 if found.passed else 1


def _policy_file(reference: str, shipped: Path) -> Path:
    from pruneguard.documents import is_path

    return _here(Path(reference) if is_path(reference) else shipped / f"{reference}.yaml")


def _here(path: Path) -> Path:
    """A file's path, relative to this folder where it is below it: in a CI job, the repository. Else the whole path."""
    whole = Path(os.path.normpath(path.absolute()))
    return whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole


def _nearest(places: Sequence["Place"]) -> "Place":
    """Where a rule is written or, if that is outside of this folder, the line here that inherits it."""
    known = [replace(place, file=_here(place.file)) for place in places]
    return next((place for place in known if not place.file.is_absolute()), known[-1])


def _require_writable(path: Path) -> None:
    """Refuse before minutes are spent what could not be written after them."""
    if path.is_dir():
        raise InvalidInputError(f"{path} is a folder; expected the path of a file to write")
    above = next(parent for parent in path.absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(path if path.exists() else above, os.W_OK):
        raise InvalidInputError(f"{path}: nothing can be written at {above}; choose another path")


def _require_apart(outputs: Mapping[str, Path], inputs: Sequence[Path]) -> None:
    """A report takes the place of what is there: never of what is judged, nor of another report."""
    taken = {path.resolve() for path in inputs}
    for name, path in outputs.items():
        if path.resolve() in taken:
            raise InvalidInputError(f"--{name} {path}: that is a file of this job already; choose another path")
        taken.add(path.resolve())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _rendered(found: "Validation", kind: str, places: Mapping[str, "Place"]) -> bytes:
    from pruneguard.validation import junit, markdown, page, sarif

    match kind:
        case "junit":
            return junit.render(found)
        case "sarif":
            return sarif.render(found, places=places)
        case "markdown":
            return markdown.render(found).encode()
        case _:
            return page.render(found)


def _tell(found: "Validation", say: Callable[[str], None]) -> None:
    say(f"{found.name('model')} {found.headline}")
    for finding in found.findings:
        say(f"{finding.outcome.value:<13} {finding.rule}: {finding.observed}; required {finding.required}")
        if not finding.allows and finding.outcome is not Outcome.NO_EVIDENCE:
            say(f"{'':<13}   would turn it: {finding.flip}. {finding.remedy}")
    for rule in found.left_out:
        say(f"{'left out':<13} {rule.name}")
    if found.advice:
        say(found.advice)
