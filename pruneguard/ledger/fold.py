"""From events to state. Pure, incremental, and the same code in service, dashboard and verifier.

`objections` says why an entry may not take effect; the ledger asks it before it appends, and `apply` asks it again
when it folds, so that an entry which got past a service is a violation to every reader.
"""

import base64
import binascii
from collections.abc import Callable, Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pruneguard.ledger.events import SIGNED, Entry, Event
from pruneguard.ledger.state import (
    AdoptedPolicy,
    Alarm,
    GivenVerdict,
    Model,
    Person,
    Release,
    Role,
    Run,
    State,
    Status,
)
from pruneguard.policy import Action

MONITOR = "monitor"
"""The actor of what the service does by itself: it seals, raises alarms, and does what the policy says follows."""


def apply(state: State, index: int, entry: Entry) -> None:
    """Fold the entry at `index` into `state`; one that breaks a rule becomes a violation and changes nothing else."""
    if index != state.size:
        raise ValueError(f"entry {index} after {state.size} entries: the fold takes them in order")
    state.size += 1
    event = entry.event
    try:
        if why := objections(state, entry):
            state.violations.extend((index, reason) for reason in why)
            return
        if effect := _EFFECTS.get(event.type):
            effect(state, index, event)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        state.violations.append((index, f"{event.type}: malformed: {type(error).__name__} {error}"))
        return
    if event.causation is not None:
        state.causations[event.causation] = index


def objections(state: State, entry: Entry) -> list[str]:
    """Every reason for which this entry may not take effect now; an empty list means that it may."""
    event = entry.event
    found: list[str] = []
    try:
        found += signature_objections(state, entry)
        if event.causation is not None and event.causation in state.causations:
            before = state.causations[event.causation]
            found.append(f"{event.type}: {event.causation!r} has happened already, at {before}")
        if (rule := _RULES.get(event.type)) is not None:
            found += [f"{event.type}: {reason}" for reason in rule(state, entry)]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        found.append(f"{event.type}: malformed: {type(error).__name__} {error}")
    return found


def signature_objections(state: State, entry: Entry) -> Iterator[str]:
    """Why an entry is not signed as its type asks, by the key that its actor has at this position."""
    event = entry.event
    if entry.envelope is None:
        if event.type in SIGNED:
            yield f"{event.type}: only a person's own signature makes this event; it has none"
        return
    person = state.people.get(event.actor)
    if event.type == "key.registered" and not state.people:
        key = event.data["public_key"]  # the first key vouches for itself: whoever opens a ledger administers it
    elif person is None:
        yield f"{event.type}: {event.actor!r} has no key; an admin registers one with `pruneguard keys register`"
        return
    else:
        key = person.public_key
    if not entry.envelope.verified_by(public_key(key)):
        yield f"{event.type}: the signature is not {event.actor!r}'s"


def public_key(text: str) -> Ed25519PublicKey:
    """A public key out of its base64. Raises ValueError when it is not 32 bytes."""
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except binascii.Error as error:
        raise ValueError(f"not a public key: {error}") from error


# -- rules: who may do what, when ---------------------------------------------------------------------------------


def _may_open(state: State, entry: Entry) -> Iterator[str]:
    if state.origin:
        yield f"this ledger was opened already, as {state.origin!r}"


def _may_register(state: State, entry: Entry) -> Iterator[str]:
    actor, data = entry.event.actor, entry.event.data
    roles = {Role(role) for role in data["roles"]}
    public_key(data["public_key"])
    if not state.people:
        if data["actor"] != actor or Role.ADMIN not in roles:
            yield "the first key must be its own actor's, with the role admin"
        return
    if not state.may(actor, Role.ADMIN):
        yield f"{actor!r} is not an admin"
    if data["actor"] == actor:
        yield f"{actor!r} may not grant roles to themselves"
    if data["actor"] in state.people:
        yield f"{data['actor']!r} has a key already"
    if any(person.public_key == data["public_key"] for person in state.people.values()):
        yield "this key belongs to another person already"
    if Role.ADMIN in roles and Role.APPROVER in roles:
        yield "an admin cannot approve"


def _may_adopt(state: State, entry: Entry) -> Iterator[str]:
    actor, data = entry.event.actor, entry.event.data
    if not (state.may(actor, Role.APPROVER) or state.may(actor, Role.ADMIN)):
        yield f"{actor!r} is neither approver nor admin"
    if not isinstance(data["approvals_min"], int) or data["approvals_min"] < 1:
        yield "a policy asks for at least one approval"


def _may_start(state: State, entry: Entry) -> Iterator[str]:
    actor, data = entry.event.actor, entry.event.data
    if not state.may(actor, Role.ENGINEER):
        yield f"{actor!r} is not an engineer"
    if data["run"] in state.runs:
        yield f"run {data['run']!r} exists already"


def _may_work(state: State, entry: Entry) -> Iterator[str]:
    data = entry.event.data
    run = state.runs.get(data["run"])
    if run is None:
        yield f"no run {data['run']!r}"
    elif run.model != data["model"]:
        yield f"run {run.id!r} is about {run.model!r}, not {data['model']!r}"
    elif run.outcome is not None:
        yield f"run {run.id!r} ended: {run.outcome}"


def _may_judge(state: State, entry: Entry) -> Iterator[str]:
    yield from _may_work(state, entry)
    if entry.event.refs["policy"] not in state.policies:
        yield f"policy {entry.event.refs['policy']} was never adopted"
    if not isinstance(entry.event.data["passed"], bool) or (
        entry.event.data["passed"] and entry.event.data["objections"]
    ):
        yield f"passed is {entry.event.data['passed']!r} with the objections {entry.event.data['objections']!r}"


def _may_propose(state: State, entry: Entry) -> Iterator[str]:
    event = entry.event
    model = state.models.get(event.data["model"])
    verdict = _verdict(model, event.refs["verdict"])
    if not state.may(event.actor, Role.ENGINEER):
        yield f"{event.actor!r} is not an engineer"
    if verdict is None:
        yield f"no verdict {event.refs['verdict']} on {event.data['model']!r}"
    elif verdict.candidate != event.refs["model"]:
        yield f"the verdict is about {verdict.candidate}, not {event.refs['model']}"
    elif verdict.split != "release":
        yield f"the verdict rests on the {verdict.split!r} split; only the release split, opened once, can release"
    elif not verdict.passed:
        yield f"the verdict is a no: {', '.join(verdict.objections)}"
    number = len(model.releases) + 1 if model else 1
    if event.data["number"] != number:
        yield f"the next release has number {number}, not {event.data['number']}"


def _may_approve(state: State, entry: Entry) -> Iterator[str]:
    event = entry.event
    release = _release(state, event)
    if release is None:
        yield _no_release(event)
        return
    if not state.may(event.actor, Role.APPROVER):
        yield f"{event.actor!r} is not an approver"
    if event.actor in release.makers:
        yield f"{event.actor!r} made this release; somebody else must approve it"
    if event.actor in release.approvals:
        yield f"{event.actor!r} has approved it already"
    if release.status is not Status.PROPOSED:
        yield f"release {release.number} is {release.status}, not proposed"
    if not str(event.data["reason"]).strip():
        yield "an approval needs a reason"


def _may_shift(state: State, entry: Entry) -> Iterator[str]:
    event = entry.event
    release = _release(state, event)
    if release is None:
        yield _no_release(event)
        return
    if event.actor != MONITOR and not state.may(event.actor, Role.OPERATOR):
        yield f"{event.actor!r} is not an operator"
    share = float(event.data["share"])
    if not 0 < share <= 1:
        yield f"a share of {event.data['share']}; expected more than 0 and at most 1"
    if release.status not in (Status.APPROVED, Status.CANARY):
        yield f"release {release.number} is {release.status}; only an approved release takes traffic"
    other = state.models[release.model].canary
    if other is not None and other.number != release.number:
        yield f"release {other.number} is in canary; finish it first"


def _may_roll_back(state: State, entry: Entry) -> Iterator[str]:
    event = entry.event
    release = _release(state, event)
    if release is None:
        yield _no_release(event)
        return
    if event.actor == MONITOR:
        alarm = next((a for a in state.models[release.model].alarms if a.event == event.data.get("alarm")), None)
        if alarm is None or alarm.number != release.number:
            yield "a monitor rolls back for an alarm about this release, and names it"
        if state.policies[release.policy].on_decay != Action.ROLL_BACK.value:
            yield "the policy does not let a monitor roll back"
    elif not state.may(event.actor, Role.OPERATOR):
        yield f"{event.actor!r} is not an operator"
    if not str(event.data["reason"]).strip():
        yield "a rollback needs a reason"
    if release.status not in (Status.CANARY, Status.LIVE):
        yield f"release {release.number} is {release.status}; there is nothing to roll back"
        return
    model = state.models[release.model]
    target = model.live if release.status is Status.CANARY else model.fallback
    if target is None or target.number != event.data["to"]:
        yield f"release {release.number} can only go back to {target.number if target else 'nothing'}"


def _may_observe(state: State, entry: Entry) -> Iterator[str]:
    if _release(state, entry.event) is None:
        yield _no_release(entry.event)


_RULES: dict[str, Callable[[State, Entry], Iterator[str]]] = {
    "ledger.opened": _may_open,
    "key.registered": _may_register,
    "policy.adopted": _may_adopt,
    "run.started": _may_start,
    "run.finished": _may_work,
    "data.admitted": _may_work,
    "model.trained": _may_work,
    "model.pruned": _may_work,
    "verdict.given": _may_judge,
    "release.proposed": _may_propose,
    "release.approved": _may_approve,
    "traffic.shifted": _may_shift,
    "release.rolled_back": _may_roll_back,
    "batch.sealed": _may_observe,
    "drift.reported": _may_observe,
    "alarm.raised": _may_observe,
}


# -- effects: what changes ----------------------------------------------------------------------------------------


def _opened(state: State, index: int, event: Event) -> None:
    state.origin = event.data["origin"]


def _registered(state: State, index: int, event: Event) -> None:
    data = event.data
    roles = frozenset(Role(role) for role in data["roles"])
    state.people[data["actor"]] = Person(data["actor"], data["public_key"], roles)


def _adopted(state: State, index: int, event: Event) -> None:
    data, digest = event.data, event.refs["policy"]
    state.policies[digest] = AdoptedPolicy(
        digest, data["name"], data["version"], data["approvals_min"], data["on_decay"]
    )


def _started(state: State, index: int, event: Event) -> None:
    data = event.data
    state.runs[data["run"]] = Run(data["run"], data["model"], event.refs["manifest"], event.actor, {event.actor})
    state.models.setdefault(data["model"], Model(data["model"]))


def _worked(state: State, index: int, event: Event) -> None:
    state.runs[event.data["run"]].makers.add(event.actor)


def _finished(state: State, index: int, event: Event) -> None:
    state.runs[event.data["run"]].outcome = event.data["outcome"]


def _judged(state: State, index: int, event: Event) -> None:
    data, refs = event.data, event.refs
    state.models[data["model"]].verdicts.append(
        GivenVerdict(
            digest=refs["verdict"],
            run=data["run"],
            candidate=refs["model"],
            twin=refs["parent"],
            data=refs["data"],
            policy=refs["policy"],
            evidence=tuple(refs["evidence"]),
            split=data["split"],
            passed=data["passed"],
            objections=tuple(data["objections"]),
            lineage=refs.get("lineage"),
            index=index,
        )
    )


def _proposed(state: State, index: int, event: Event) -> None:
    model = state.models[event.data["model"]]
    verdict = _verdict(model, event.refs["verdict"])
    assert verdict is not None  # the rule asked for it
    model.releases[event.data["number"]] = Release(
        number=event.data["number"],
        model=model.name,
        digest=verdict.candidate,
        twin=verdict.twin,
        verdict=verdict.digest,
        policy=verdict.policy,
        author=event.actor,
        makers=frozenset(state.runs[verdict.run].makers | {event.actor}),
        status=Status.PROPOSED,
        proposed_at=event.time,
        changed_at=event.time,
    )


def _approved(state: State, index: int, event: Event) -> None:
    release = state.models[event.data["model"]].releases[event.data["number"]]
    release.approvals.append(event.actor)
    if len(release.approvals) >= state.policies[release.policy].approvals_min:
        release.status, release.changed_at = Status.APPROVED, event.time


def _shifted(state: State, index: int, event: Event) -> None:
    model = state.models[event.data["model"]]
    release = model.releases[event.data["number"]]
    release.share, release.changed_at = float(event.data["share"]), event.time
    if release.share < 1:
        release.status = Status.CANARY
        return
    if (before := model.live) is not None:
        before.status, before.share, before.changed_at = Status.RETIRED, 0.0, event.time
    release.status, release.was_live = Status.LIVE, True


def _rolled_back(state: State, index: int, event: Event) -> None:
    model = state.models[event.data["model"]]
    release = model.releases[event.data["number"]]
    release.status, release.share, release.changed_at = Status.ROLLED_BACK, 0.0, event.time
    target = model.releases[event.data["to"]]
    if target.status is not Status.LIVE:
        target.status, target.share, target.changed_at = Status.LIVE, 1.0, event.time


def _sealed(state: State, index: int, event: Event) -> None:
    state.models[event.data["model"]].batches.append(_summary(index, event))


def _drifted(state: State, index: int, event: Event) -> None:
    state.models[event.data["model"]].drift.append(_summary(index, event))


def _alarmed(state: State, index: int, event: Event) -> None:
    data = event.data
    state.models[data["model"]].alarms.append(
        Alarm(event.id, data["model"], data["number"], data["detector"], data["cause"], event.time, data)
    )


_EFFECTS: dict[str, Callable[[State, int, Event], None]] = {
    "ledger.opened": _opened,
    "key.registered": _registered,
    "policy.adopted": _adopted,
    "run.started": _started,
    "run.finished": _finished,
    "data.admitted": _worked,
    "model.trained": _worked,
    "model.pruned": _worked,
    "verdict.given": _judged,
    "release.proposed": _proposed,
    "release.approved": _approved,
    "traffic.shifted": _shifted,
    "release.rolled_back": _rolled_back,
    "batch.sealed": _sealed,
    "drift.reported": _drifted,
    "alarm.raised": _alarmed,
}


def _summary(index: int, event: Event) -> dict[str, Any]:
    return {**event.data, "refs": dict(event.refs), "time": event.time, "index": index}


def _verdict(model: Model | None, digest: str) -> GivenVerdict | None:
    return next((v for v in model.verdicts if v.digest == digest), None) if model else None


def _release(state: State, event: Event) -> Release | None:
    model = state.models.get(event.data["model"])
    release = model.releases.get(event.data["number"]) if model else None
    named = event.refs.get("model")
    return release if release and named in (None, release.digest) else None


def _no_release(event: Event) -> str:
    return f"no release {event.data['number']} of {event.data['model']!r} with that digest"
