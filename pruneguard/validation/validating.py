"""A model file judged by a policy against its twin, outside any run.

1. read     the policy; both files, and whether they are models at all; the rows
2. measure  what the policy asks for, of what such files can tell
3. judge    every rule; one that nothing was measured for says why
"""

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from pruneguard import canonical
from pruneguard.errors import InvalidInputError
from pruneguard.evaluation import data_quality
from pruneguard.evaluation.data_quality import Papers
from pruneguard.evaluation.evaluate import Contender, evaluate
from pruneguard.evaluation.sessions import Session
from pruneguard.evidence import Evidence
from pruneguard.gates import judge, stopping
from pruneguard.policy import Policy, Rule
from pruneguard.reporting import listener, working
from pruneguard.validation import rows
from pruneguard.validation.result import Source, Validation
from pruneguard.verdict import Outcome
from pruneguard.workload import Floats, Kind, Snapshot, ask, load

NO_TWIN = "none"
"""Stands for the twin's digest where nobody gave one."""

ALONE = frozenset(
    {
        "quality.accuracy",
        "quality.top5",
        "quality.macro_f1",
        "quality.nll",
        *(f"quality.{error}" for error in ("rmse", "mae", "median_error", "p90_error", "bias", "r2", "tolerance")),
        "calibration.ece",
        "calibration.ace",
        "calibration.brier",
        "calibration.temperature",
        "calibration.reliability",
        *(f"ood.{score}{number}" for score in ("", "energy_") for number in ("auroc", "fpr95")),
        *(f"fairness.{rate}_gap" for rate in ("selection", "odds", "precision", "accuracy", "calibration")),
        "artifact.threats",
        "efficiency.size_bytes",
        "efficiency.parameters",
        "efficiency.memory.peak",
    }
)
"""What says something of a model without a twin, as whatever is said of the data does. All else is taken to compare."""


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody wants judged; `data` is a file of rows or `file.py:Class`, `policy_file` where the policy stands.

    `split` is one of a workload's, None for `gate`. `kind`, `label`, `slices`, `protected` and `tolerance` are about a
    file of rows, as in `rows.snapshot`. `left_out` names rules, each by its name or by the dotted beginning that it
    shares with others. `twin` None is no twin at all; a dense model that is named as its own twin is judged by the
    rules for dense ones.
    """

    model: Path
    twin: Path | None
    data: str
    policy: Policy
    policy_file: Path
    data_dir: Path
    split: str | None = None
    kind: Kind | None = None
    label: str = "y"
    slices: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    seed: int = 0
    tolerance: float | None = None


def validate(request: Request) -> Validation:
    """Measure and judge. Raises InvalidInputError for whatever cannot be judged at all: files, rows, names."""
    policy, left_out = _without(request.policy, request.left_out)
    model = _model(request.model)
    twin = model if request.twin is None else _model(request.twin)
    if twin.session.classes != model.session.classes:
        raise InvalidInputError(
            f"{request.twin} gives {twin.session.said} and {request.model} {model.session.said}; "
            "a twin answers the same question"
        )
    data = _data(request, classes=model.session.classes)
    for each in (model, twin):
        each.require(data.snapshot.splits[data.split].x[:1])
    evidence = tuple(_evidence(request, policy, model.contender, twin.contender, data))
    verdict = judge(
        policy,
        evidence,
        candidate=model.contender.digest,
        twin=NO_TWIN if request.twin is None else twin.contender.digest,
        data=data.snapshot.digest,
    )
    lacking = {finding.rule for finding in verdict.findings if finding.outcome is Outcome.NO_EVIDENCE}
    absent = {rule.name: _why_absent(rule, request, evidence) for rule in policy.rules if rule.name in lacking}
    sources = (
        Source("model", str(request.model), model.contender.digest),
        *([] if request.twin is None else [Source("twin", str(request.twin), twin.contender.digest)]),
        Source("data", request.data, data.snapshot.digest),
        Source("policy", str(request.policy_file), request.policy.digest),
    )
    return Validation(policy, left_out, verdict, evidence, {k: v for k, v in absent.items() if v}, sources)


# 1


def _without(policy: Policy, names: Sequence[str]) -> tuple[Policy, tuple[Rule, ...]]:
    """The policy without the rules that these names mean, and those rules."""
    known = [rule.name for rule in policy.rules]
    for name in names:
        if not any(_means(name, rule) for rule in known):
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"its rules are {known}"
            raise InvalidInputError(f"--leave-out {name}: policy {policy.name!r} has no such rule; {hint}")
    gone = tuple(rule for rule in policy.rules if any(_means(name, rule.name) for name in names))
    kept = tuple(rule for rule in policy.rules if rule not in gone)
    if not kept:
        raise InvalidInputError(f"every rule of policy {policy.name!r} is left out; nothing judged is never a pass")
    return replace(policy, rules=kept, evidence_days_max=None), gone  # what is judged here is measured here


def _means(name: str, dotted: str) -> bool:
    return dotted == name or dotted.startswith(f"{name}.")


@dataclass(frozen=True, slots=True, eq=False)
class _Model:
    path: Path
    contender: Contender
    session: Session

    def require(self, x: Floats) -> None:
        """Refuse rows that are not this model's."""
        try:
            self.session.logits(x)
        except InvalidInputError as error:
            raise InvalidInputError(f"{self.path}: {error}") from error


def _model(path: Path) -> _Model:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInputError(f"{path}: cannot be read: {error.strerror}; give the path of an ONNX file") from error
    try:
        graph = onnx.load_from_string(content).graph
    except Exception as error:  # protobuf's own, which ships no types to catch it by
        archive = content[:2] in (b"PK", b"\x80\x02")  # what torch.save writes; opening it could run code
        found = "an archive such as torch.save writes, which is never unpickled" if archive else f"{len(content)} bytes"
        raise InvalidInputError(f"{path}: {found}; expected an ONNX file, as torch.onnx.export writes it") from error
    outside = [tensor.name for tensor in graph.initializer if onnx.external_data_helper.uses_external_data(tensor)]
    if outside:
        raise InvalidInputError(
            f"{path}: {len(outside)} weights lie in files beside it, {outside[0]!r} first; its digest would not cover "
            "them. Save it as one file: onnx.save_model(onnx.load(path), path, save_as_external_data=False)"
        )
    try:
        return _Model(path, Contender(canonical.digest(content), content, None), Session(content))
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {error}") from error


@dataclass(frozen=True, slots=True, eq=False)
class _Data:
    """`papers` are what a workload says of its data; None for a file of rows, which nobody can admit."""

    snapshot: Snapshot
    split: str
    papers: Papers | None = None


def _data(request: Request, *, classes: int | None) -> _Data:
    """The rows, and the split of them to judge on."""
    file, colon, name = request.data.rpartition(":")
    if not (colon and file.endswith(".py")):
        if request.split is not None:
            raise InvalidInputError(f"--split {request.split}: {request.data} has no splits; all its rows are judged")
        snapshot = rows.snapshot(
            Path(request.data),
            classes=classes,
            tolerance=request.tolerance,
            label=request.label,
            slices=request.slices,
            protected=request.protected,
            kind=request.kind,
        )
        return _Data(snapshot, "gate")
    if request.tolerance is not None:
        raise InvalidInputError(f"--tolerance {request.tolerance:g}: {request.data} says it itself; leave it out")
    if not Path(file).is_file():
        raise InvalidInputError(f"--data {request.data}: no file {file}; give the path of a workload, file.py:Class")
    workload = load(Path(file), name)
    snapshot = ask(workload, "data", request.data_dir)
    data_quality.require_usable(snapshot)
    if snapshot.classes != classes:
        raise InvalidInputError(
            f"{request.model} gives {'one number' if classes is None else f'{classes} logits'}, "
            f"the data of {request.data} have {snapshot.classes or 'no'} classes; "
            "judge it on its own data"
        )
    return _Data(snapshot, request.split or "gate", data_quality.papers(workload))


# 2


def _evidence(request: Request, policy: Policy, model: Contender, twin: Contender, data: _Data) -> Collection[Evidence]:
    wanted = stopping.wanted(policy)
    found: list[Evidence] = []
    if data.papers is not None and any(_means("data", name) for name in wanted):
        with working("looking at the data"):
            found.append(data_quality.admit(data.snapshot, data.papers).evidence)
    measured = evaluate(
        model,
        twin,
        data.snapshot,
        split=data.split,
        seed=request.seed,
        wanted=wanted,
        all_else=False,
        progress=listener.get().progress(f"measuring on {len(data.snapshot.splits[data.split])} rows"),
    )
    return [*found, measured if request.twin is not None else _alone(measured)]


def _alone(evidence: Evidence) -> Evidence:
    """What was measured of a model beside itself, without all that compares: that would be as good as itself."""
    kept = {name: value for name, value in evidence.measurements.items() if name.partition(".slice.")[0] in ALONE}
    return replace(evidence, twin=NO_TWIN, measurements=kept)


# 3


def _why_absent(rule: Rule, request: Request, evidence: Collection[Evidence]) -> str:
    """Why nothing was measured for a rule; empty where nobody foresaw it."""
    if rule.measurement == "data.openings":
        return "a ledger counts it, over the runs that judged by these rows; leave it out, or use pruneguard run"
    if _means("data.feedback", rule.measurement):
        return "it takes what earlier versions answered in traffic; leave it out, or use pruneguard run"
    if _means("data", rule.measurement):
        return "it takes train, gate and release rows; give a workload, --data file.py:Class"
    left_out = "; ".join(each.context.get("left out", "") for each in evidence)
    for family, _, why in (text.partition(": ") for text in left_out.split("; ")):
        if _means(family, rule.measurement):
            return why
    if request.twin is None and rule.measurement not in ALONE:
        return "it compares with a twin; give one, --twin dense.onnx"
    return ""
