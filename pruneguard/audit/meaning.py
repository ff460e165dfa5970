"""Steps of a verification that ask what the entries mean: rules, decisions, artefacts, completeness. Numbers as in
`verify`.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias

from pruneguard import canonical
from pruneguard.audit import bundle, signing, views
from pruneguard.audit.archive import RefusedError
from pruneguard.audit.contents import Contents
from pruneguard.audit.history import ranges
from pruneguard.audit.integrity import Faults
from pruneguard.audit.redecide import (
    ReadDocument,
    comparison_faults,
    drill_faults,
    policy_faults,
    selftest_faults,
    verdict_faults,
)
from pruneguard.ledger.events import Event

Redecide: TypeAlias = Callable[[Event, ReadDocument], Iterator[str]]


def signatures(contents: Contents) -> Faults:
    """5. Every act of a person carries their own signature."""
    for index, reason in contents.history.unsigned:
        yield contents.place(index), reason


def models(contents: Contents) -> Faults:
    """7. Each version's model is signed by the key beside it."""
    key = contents.archive.read(bundle.MODEL_KEY)
    for path, digest in contents.signed_models.items():
        if path in contents.archive.members:
            for reason in signing.faults(digest, contents.archive.read(path), key):
                yield contents.archive.place(path), reason


def rules(contents: Contents) -> Faults:
    """12. No entry breaks a rule."""
    history = contents.history
    for index, reason in history.forbidden:
        yield contents.place(index), reason
    if contents.checkpoint.origin != history.state.origin:
        yield (
            contents.place(0),
            f"the log was opened as {history.state.origin!r}, its checkpoint is of {contents.checkpoint.origin!r}",
        )
    if contents.manifest.model not in history.state.models:
        yield bundle.MANIFEST, f"the log knows no model {contents.manifest.model!r}"


def policies(contents: Contents) -> Faults:
    """13. Policies were adopted as they are written: those that the selection names."""
    for index in contents.selection.kinds.get("policy.adopted", ()):
        entry = contents.log[index]
        if entry is not None and entry.event.refs["policy"] in contents.documents:
            yield from _decided_again(contents, index, entry.event, policy_faults)


def self_tests(contents: Contents) -> Faults:
    """14. The gates refuse again what they refused when they were tried, with bad numbers and with bad networks."""
    for index, event in contents.selection.events("gates.self_tested"):
        yield from _decided_again(contents, index, event, selftest_faults)
    for index, event in bundle.drills(contents.selection):
        yield from _decided_again(contents, index, event, drill_faults)


def verdicts(contents: Contents) -> Faults:
    """15. Each verdict follows from its evidence."""
    for index, event in contents.selection.events("verdict.given"):
        yield from _decided_again(contents, index, event, verdict_faults)


def comparisons(contents: Contents) -> Faults:
    """16. Each canary went on, or was stopped, for what was counted."""
    models = contents.history.state.models
    for index, event in contents.selection.events("traffic.shifted", "alarm.raised"):
        if "comparison" in event.refs:
            policy = models[event.data["model"]].releases[event.data["number"]].policy
            yield from _decided_again(contents, index, event, partial(comparison_faults, policy=policy))


def _decided_again(contents: Contents, index: int, event: Event, faults: Redecide) -> Faults:
    try:
        for reason in faults(event, contents.document):
            yield contents.place(index), reason
    except RefusedError as error:
        yield f"{contents.place(index)}; {error.place}", f"cannot be decided again: {error.detail}"
    except Exception as error:  # noqa: BLE001  a hostile document may make any reader raise: a fault, no crash
        yield contents.place(index), f"cannot be decided again: {type(error).__name__} {error}"


def documents(contents: Contents) -> Faults:
    """17. Each document is the one that its name says."""
    for path in contents.archive.members:
        if path.startswith(bundle.DOCUMENTS):
            found = canonical.digest(contents.archive.read(path))
            if bundle.document_path(found) != path:
                yield contents.archive.place(path), f"its digest is {found}"


def derived(contents: Contents) -> Faults:
    """18. What is derived is what the log and its documents lead to."""
    if contents.manifest.views != views.VERSION:
        yield (
            bundle.MANIFEST,
            f"made by views of version {contents.manifest.views}; this verifier makes {views.VERSION}: use that of "
            "the release which exported it",
        )
        return
    for path, right in contents.derived.items():
        if path in contents.archive.members and (content := contents.archive.read(path)) != right:
            at = next((i for i, pair in enumerate(zip(content, right, strict=False)) if pair[0] != pair[1]), len(right))
            at = min(at, len(content))
            yield contents.archive.place(path, at, at + 1), "not what the log and its documents lead to"


def attestations(contents: Contents) -> Faults:
    """19. Attestations say what the log leads to, once each, in order."""
    for path, right in contents.statements.items():
        found = contents.payloads(path)
        if found == list(right) or path not in contents.archive.members:
            continue
        place, wanted = contents.archive.place(path), set(right)
        for number, payload in enumerate(found, 1):
            if payload not in wanted:
                yield f"{place}, line {number}", "no statement that the log leads to"
        if Counter(found) - Counter(right) and set(found) <= wanted:
            yield place, "a statement stands in it more than once"
        elif sorted(found) == sorted(right):
            yield place, "its statements are not in their order"


def selected(contents: Contents) -> Faults:
    """20. Every file that the selection asks for is there, and no other."""
    selection, present, manifest = contents.selection, contents.archive.members, contents.manifest
    wanted = {bundle.proof_path(index): f"{contents.place(index)}: a decision" for index in bundle.decisions(selection)}
    wanted |= dict.fromkeys(
        (*contents.derived, *contents.statements, *contents.signed_models), "the log leads to this file"
    )
    wanted |= dict.fromkeys(map(bundle.framework_path, manifest.frameworks), "the manifest names this framework")
    for digest, index in contents.documents.items():
        path = bundle.document_path(digest)
        if digest not in manifest.absent:
            wanted[path] = f"{contents.place(index)} names {digest}"
        elif path in present:
            yield path, "the manifest calls this document absent"
    for digest in sorted(manifest.absent.keys() - contents.documents.keys()):
        yield bundle.MANIFEST, f"calls {digest} absent, which no selected entry names"
    for path in sorted(wanted.keys() - present.keys()):
        yield path, f"this file is missing; {wanted[path]}"
    known = bundle.FIXED | bundle.OPTIONAL | {bundle.MANIFEST, bundle.SEAL}
    for path in sorted(present.keys() - wanted.keys() - known):
        if not path.startswith(bundle.TILES):
            yield path, "nothing that was selected asks for this file"
    for path, right in contents.statements.items():
        if path in present and (missing := Counter(right) - Counter(contents.payloads(path))):
            yield path, f"{missing.total()} of {len(right)} statements are missing"
    if dict(manifest.left_out) != contents.history.left_out:
        yield bundle.MANIFEST, f"leaves out {dict(manifest.left_out)}; the span leaves out {contents.history.left_out}"


def bodies(contents: Contents) -> Faults:
    """21. Entries are without a body only where the log says that retention dropped it."""
    history = contents.history
    for start, end in history.state.unexplained(ranges(history.absent)):
        yield contents.place(start), f"entries {start} to {end - 1} have no body, and no retention says why"


def traffic(contents: Contents) -> Faults:
    """22. Batches follow each other without a gap, and are answers of versions to which the log gave traffic."""
    for index, reason in sorted(contents.history.unserved + contents.history.gaps):
        yield contents.place(index), reason


def answering(contents: Contents, *, seen: tuple[str, ...]) -> Faults:
    """23. What the auditor saw answering was given traffic by the log."""
    served = contents.history.served
    digests = {
        release.digest
        for model in contents.history.state.models.values()
        for release in model.releases.values()
        if (model.name, release.number) in served
    }
    for digest in seen:
        if digest not in digests:
            yield digest, "answered requests, and the log never gave it traffic"
