"""What happened, as in-toto Statements v1 for other people's policy engines.

attestations/<model>.intoto.jsonl      for each time it was pruned: our prune-lineage/v1; for each verdict on it: a
                                       test-result v0.1 of every rule, and on the release split a SLSA VSA v1
attestations/runs/<run>.intoto.jsonl   what the run made and out of what: SLSA provenance v1

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md, https://slsa.dev/spec/v1.0/provenance,
https://slsa.dev/spec/v1.0/verification_summary. A payload is canonical JSON. What a format has no field for stands in
the annotations of a resource, so strict readers take it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pruneguard import canonical
from pruneguard.audit import bundle
from pruneguard.audit.selection import Selection
from pruneguard.audit.views import vocabulary as words
from pruneguard.audit.views.versions import told, waivers
from pruneguard.errors import InvalidInputError
from pruneguard.ledger.events import Event
from pruneguard.ledger.state import GivenVerdict, Waiver
from pruneguard.pruning import lineage
from pruneguard.pruning.lineage import Lineage
from pruneguard.verdict import Finding, Outcome, Verdict

RESULTS: Mapping[Outcome, str] = {Outcome.PASSED: "PASSED", Outcome.WAIVED: "WARNED"}
"""All others are FAILED: what could not be decided is no pass."""


def attestations(selection: Selection) -> dict[str, Sequence[bytes]]:
    """Payloads by file, in the order of the log."""
    files: dict[str, list[bytes]] = {}
    for _, event in selection.events("model.pruned", "verdict.given"):
        lines = files.setdefault(path(event.refs["model"]), [])
        if event.type == "model.pruned":
            lines.append(canonical.encode(_pruned(selection, event)))
        else:
            lines += _judged(selection, event, tuple(lines))
    runs = (event.data["run"] for _, event in selection.events("model.trained", "model.pruned"))
    for run in dict.fromkeys(runs):
        files[run_path(run)] = [canonical.encode(_provenance(selection, run))]
    return dict(files)


def path(model: str) -> str:
    """The file about the model with this digest."""
    return f"{bundle.ATTESTATIONS}{words.hexadecimal(model)}.intoto.jsonl"


def run_path(run: str) -> str:
    return f"{bundle.ATTESTATIONS}runs/{run}.intoto.jsonl"


def _statement(subjects: Sequence[Mapping[str, Any]], kind: str, predicate: Mapping[str, Any]) -> dict[str, Any]:
    return {"_type": words.STATEMENT, "subject": list(subjects), "predicateType": kind, "predicate": dict(predicate)}


# -- pruning ------------------------------------------------------------------------------------------------------


def _pruned(selection: Selection, event: Event) -> dict[str, Any]:
    refs, name = event.refs, str(event.data["recipe"].get("steps"))
    predicate = {
        "denseModel": words.resource("twin", refs["parent"]),
        "lineage": words.document("lineage", refs["lineage"]),
        "method": {"name": name},
        **_told(_lineage(selection, refs["lineage"]), name),
    }
    if isinstance(weights := refs.get("weights"), str):
        predicate["result"] = words.resource("weights after fine-tuning", weights)
    return _statement([words.resource(selection.model, refs["model"])], words.PRUNE_LINEAGE, predicate)


def _told(cut: Lineage | None, name: str) -> dict[str, Any]:
    """What a lineage says; of one that cannot be read, nothing but its digest is attested."""
    if cut is None:
        return {}
    steps = [dict(step) for step in cut.recipe]
    told: dict[str, Any] = {
        "dense": words.resource("dense weights", cut.dense),
        "method": {"name": name, "recipe": steps, "ratio": cut.ratio, "seed": cut.seed},
        "sparsity": cut.sparsity,
        "removed": {part: {root: list(gone) for root, gone in roots.items()} for part, roots in cut.removed.items()},
        "layers": _layers(cut),
        "untouched": dict(cut.untouched),
        "prunedInit": words.resource("weights before fine-tuning", cut.weights),
    }
    if cut.start != cut.dense:
        told["start"] = words.resource("weights that were rewound to", cut.start)
    if cut.stored is not None:
        told["masks"] = words.resource("masks", cut.stored)
    return told


def _layers(cut: Lineage) -> list[dict[str, Any]]:
    """Every tensor of the dense network, and what became of it."""
    names, after = {cut.source(name): name for name in cut.kept}, cut.pruned_shapes
    return [_layer(cut, source, names.get(source), after) for source in sorted(cut.shapes)]


def _layer(cut: Lineage, source: str, name: str | None, after: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    layer: dict[str, Any] = {"name": source, "shapeBefore": list(cut.shapes[source])}
    if name is None:
        return {**layer, "shapeAfter": None}
    layer["shapeAfter"] = list(after[name])
    if name != source:
        layer["nameAfter"] = name
    if any(axis is not None for axis in cut.kept[name]):
        indices = canonical.encode([None if axis is None else list(axis) for axis in cut.kept[name]])
        layer["keptIndices"] = {"sha256": words.hexadecimal(canonical.digest(indices))}
    if (mask := cut.masks.get(name)) is not None:
        layer |= {"mask": {"sha256": words.hexadecimal(mask.digest)}, "kept": mask.kept}
    return layer


def _lineage(selection: Selection, digest: str) -> Lineage | None:
    content = selection.document(digest)
    try:
        return lineage.decode(content) if content is not None else None
    except InvalidInputError:
        return None


# -- judging ------------------------------------------------------------------------------------------------------


def _judged(selection: Selection, event: Event, before: Sequence[bytes]) -> list[bytes]:
    """The verdict's statements; `before` are those about the same model so far."""
    given = selection.state.models[selection.model].verdict(event.refs["verdict"])
    content = selection.document(event.refs["verdict"])
    taken_on = {} if given is None else waivers(selection, given)
    findings = () if content is None else Verdict.decode(content).findings
    tests = [canonical.encode(_tested(selection, event, finding, taken_on.get(finding.rule))) for finding in findings]
    if given is None or given.split != "release":
        return tests
    return [*tests, canonical.encode(_summary(selection, event, given, taken_on, [*before, *tests]))]


def _tested(selection: Selection, event: Event, finding: Finding, waiver: Waiver | None) -> dict[str, Any]:
    held = waiver is not None and not waiver.lapsed(selection.state.clock)
    result = "WARNED" if held else RESULTS.get(finding.outcome, "FAILED")
    rule = {name: str(getattr(finding, name)) for name in ("rule", "gate", "required", "observed", "outcome", "flip")}
    if waiver is not None:
        rule["waiver"] = told(waiver, selection.state.clock)
    refs = event.refs
    predicate = {
        "result": result,
        "configuration": [
            words.document("policy", refs["policy"], **rule),
            *(words.document("evidence", digest) for digest in refs["evidence"]),
            words.document("verdict", refs["verdict"]),
            words.resource("data", refs["data"], split=event.data["split"]),
            words.resource("twin", refs["parent"]),
        ],
        **{
            kind: [finding.rule] if kind.startswith(result.lower()) else []
            for kind in ("passedTests", "warnedTests", "failedTests")
        },
    }
    return _statement([words.resource(selection.model, refs["model"])], words.TEST_RESULT, predicate)


def _summary(
    selection: Selection, event: Event, given: GivenVerdict, taken_on: Mapping[str, Waiver], inputs: Sequence[bytes]
) -> dict[str, Any]:
    clock = selection.state.clock
    held = [rule for rule, waiver in taken_on.items() if not waiver.lapsed(clock)]
    waived = bool(held) and len(held) == len(given.objections)
    level = words.PASSED_LEVEL if given.passed else words.WAIVED_LEVEL if waived else "FAILED"
    # The summary has no field for these, its subject has.
    about: dict[str, Any] = {"score": given.score(), "objections": dict(given.objections)}
    if taken_on:
        about["scoreWithWaivers"] = given.score(len(held))
        about["waivers"] = [_waived(waiver, clock) for waiver in taken_on.values()]
    digests = (words.hexadecimal(canonical.digest(payload)) for payload in inputs)
    predicate = {
        "verifier": {"id": words.ledger_uri(selection.checkpoint.origin)},
        "timeVerified": event.time,
        "resourceUri": words.model_uri(selection.model, given.candidate),
        "policy": {"uri": bundle.document_path(given.policy), "digest": {"sha256": words.hexadecimal(given.policy)}},
        # By the digests of payloads: the same whoever signs them.
        "inputAttestations": [{"uri": path(given.candidate), "digest": {"sha256": digest}} for digest in digests],
        "verificationResult": "FAILED" if level == "FAILED" else "PASSED",
        "verifiedLevels": [level],
    }
    return _statement([words.resource(selection.model, given.candidate, **about)], words.SUMMARY, predicate)


def _waived(waiver: Waiver, clock: str) -> dict[str, str]:
    return {
        "rule": waiver.rule,
        "standing": told(waiver, clock),
        "reason": waiver.reason,
        "control": waiver.control,
        "grantedBy": waiver.granted_by,
        "grantedAt": waiver.granted_at,
        "expires": waiver.expires,
        "before": waiver.before,
        "after": waiver.after,
        "event": waiver.event,
    }


# -- running ------------------------------------------------------------------------------------------------------


def _provenance(selection: Selection, run: str) -> dict[str, Any]:
    events = list(_events_of(selection, run))
    made = [event for event in events if event.type in ("model.trained", "model.pruned")]
    start = next((event for event in events if event.type == "run.started"), None)
    end = next((event for event in events if event.type == "run.finished"), None)
    used = {("data", event.refs["data"]): None for event in made}
    used |= {("twin", event.refs["parent"]): None for event in made if "parent" in event.refs}
    judged = [event for event in events if event.type == "verdict.given"]
    policies = dict.fromkeys(event.refs["policy"] for event in judged)
    byproducts = dict.fromkeys(
        [("evidence", event.refs["evidence"]) for event in events if event.type == "data.admitted"]
        + [("lineage", event.refs["lineage"]) for event in made if "lineage" in event.refs]
        + [("verdict", event.refs["verdict"]) for event in judged]
    )
    times = {"startedOn": start.time} if start else {}
    predicate = {
        "buildDefinition": {
            "buildType": words.RETRAIN_AND_PRUNE,
            "externalParameters": {"manifest": _manifest(selection, start)} if start else {},
            "resolvedDependencies": [
                *(words.resource(*one) for one in used),
                *(words.document("policy", digest) for digest in policies),
            ],
        },
        "runDetails": {
            "builder": {"id": words.ledger_uri(selection.checkpoint.origin)},
            "metadata": {"invocationId": run, **times, **({"finishedOn": end.time} if end else {})},
            "byproducts": [words.document(*one) for one in byproducts],
        },
    }
    subjects = dict.fromkeys((event.type.removeprefix("model."), event.refs["model"]) for event in made)
    return _statement([words.resource(*one) for one in subjects], words.PROVENANCE, predicate)


def _events_of(selection: Selection, run: str) -> Iterator[Event]:
    """All that a run did, in whichever span: a statement about half of it would say something else."""
    types = ("run.started", "data.admitted", "model.trained", "model.pruned", "verdict.given", "run.finished")
    for index in sorted(index for name in types for index in selection.kinds.get(name, ())):
        if (entry := selection.log[index]) is not None and entry.event.data.get("run") == run:
            yield entry.event


def _manifest(selection: Selection, start: Event) -> dict[str, Any]:
    """The manifest's own words, with its digest; without the words where the bundle has none of that name."""
    digest = start.refs["manifest"]
    content = selection.document(digest)
    words_of_it = {} if content is None else {"content": canonical.decode(content)}
    return {"digest": {"sha256": words.hexadecimal(digest)}, "uri": bundle.document_path(digest), **words_of_it}
