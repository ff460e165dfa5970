"""Decide again what the service decided: a policy's terms, the trial of its gates, each verdict from its evidence, each
step of a canary from what was counted.
"""

from collections.abc import Callable, Iterator
from typing import TypeAlias

from pruneguard.comparison import Comparison, Outcome, decide
from pruneguard.errors import InvalidInputError
from pruneguard.evidence import Evidence
from pruneguard.gates import judge, missing
from pruneguard.gates.exhibits import ArtefactTest
from pruneguard.gates.selftest import self_test
from pruneguard.ledger.events import Event
from pruneguard.policy import Policy, next_share
from pruneguard.verdict import Verdict

ReadDocument: TypeAlias = Callable[[str], bytes]
"""Digest -> the document's bytes, checked against it."""


def policy_faults(event: Event, read: ReadDocument) -> Iterator[str]:
    """In what a `policy.adopted` event departs from the policy that it names."""
    policy = Policy.decode(read(event.refs["policy"]))
    for name, value in policy.terms.items():
        if event.data[name] != value:
            yield f"adopted with {name} {event.data[name]!r}; the policy's document says {value!r}"


def verdict_faults(event: Event, read: ReadDocument) -> Iterator[str]:
    """In what a `verdict.given` event departs from what its policy and evidence lead to."""
    refs = event.refs
    policy = Policy.decode(read(refs["policy"]))
    evidence = [Evidence.decode(read(digest)) for digest in refs["evidence"]]
    if lacking := missing(policy):
        yield f"cannot be decided again here: {'; '.join(lacking)}"
        return
    given = Verdict.decode(read(refs["verdict"]))
    subjects = {"candidate": refs["model"], "twin": refs["parent"], "data": refs["data"]}
    decided = judge(policy, evidence, **subjects, at=event.time)
    if decided.policy != refs["policy"]:
        yield f"the policy {refs['policy']} is not in canonical form"
    yield from _differences(given, decided)
    if given.digest != refs["verdict"]:
        yield f"the verdict {refs['verdict']} is not in canonical form"
    split = event.data["split"]
    for document in evidence:
        if document.subject == refs["model"] and (measured := document.context.get("split")) != split:
            yield f"recorded for the split {split!r}; evidence {document.digest} was measured on {measured!r}"
    for name, value in decided.outline.items():
        if event.data[name] != value:
            yield f"recorded with {name} {event.data[name]!r}; its evidence leads to {value!r}"


def selftest_faults(event: Event, read: ReadDocument) -> Iterator[str]:
    """In what a `gates.self_tested` event departs from the trial of its policy's gates, held again here."""
    policy = Policy.decode(read(event.refs["policy"]))
    if lacking := missing(policy):
        yield f"cannot be held again here: {'; '.join(lacking)}"
        return
    held = self_test(policy)
    if held.digest != event.refs["report"]:
        yield f"the report {event.refs['report']} is not what this policy's trial leads to, {held.digest}"
    for name, value in (("refused", held.refused), ("of", held.of)):
        if event.data[name] != value:
            yield f"recorded with {name} {event.data[name]!r}; the trial held again leads to {value}"


def drill_faults(event: Event, read: ReadDocument) -> Iterator[str]:
    """In what a `gates.drilled` event departs from what the evidence in its report leads to, under its policy."""
    policy = Policy.decode(read(event.refs["policy"]))
    if lacking := missing(policy):
        yield f"cannot be decided again here: {'; '.join(lacking)}"
        return
    try:
        held = ArtefactTest.decode(read(event.refs["report"]), policy=policy)
    except InvalidInputError as error:
        yield f"the report {event.refs['report']}: {error}"
        return
    for name, value in held.outline.items():
        if event.data[name] != value:
            yield f"recorded with {name} {event.data[name]!r}; its evidence leads to {value}"


def comparison_faults(event: Event, read: ReadDocument, *, policy: str) -> Iterator[str]:
    """In what an event that names a comparison departs from what its counts lead to, under the release's policy."""
    seen = Comparison.decode(read(event.refs["comparison"]))
    canary = Policy.decode(read(policy)).canary
    if seen.digest != event.refs["comparison"]:
        yield f"the comparison {event.refs['comparison']} is not in canonical form"
    about = {"model": seen.model, "number": seen.number, "policy": seen.policy}
    for name, right in (("model", event.data["model"]), ("number", event.data["number"]), ("policy", policy)):
        if about[name] != right:
            yield f"the comparison is of {name} {about[name]!r}; the event is about {right!r}"
    found, wanted = decide(seen, canary), Outcome.STOP
    if event.type == "traffic.shifted":
        wanted = Outcome.GO_ON
        if event.data.get("requests") != seen.requests:
            yield f"recorded with {event.data.get('requests')} requests; the comparison counts {seen.requests}"
        if float(event.data["share"]) != (right := next_share(canary.steps, seen.share)):
            yield f"recorded with the share {event.data['share']}; from {seen.share:g} the policy's next is {right:g}"
    if found.outcome is not wanted:
        yield f"recorded as {wanted.value}; the comparison leads to {found.outcome.value}: {found.reason}"


def _differences(given: Verdict, decided: Verdict) -> Iterator[str]:
    for name in ("policy", "candidate", "twin", "data", "evidence"):
        if getattr(given, name) != getattr(decided, name):
            yield f"the verdict names {name} {getattr(given, name)}; the event names {getattr(decided, name)}"
    if [f.rule for f in given.findings] != [f.rule for f in decided.findings]:
        yield "the verdict's findings are not those of the policy's rules, one for each in order"
        return
    for told, found in zip(given.findings, decided.findings, strict=True):
        if told != found:
            yield (
                f"rule {found.rule!r}: the verdict says {told.outcome} ({told.observed}; required {told.required}), "
                f"its evidence says {found.outcome} ({found.observed}; required {found.required})"
            )
