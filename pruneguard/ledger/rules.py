"""Who may do what, when: every reason for which an entry may not take effect. Pure, as the fold is that asks here.

The ledger asks before it appends, and the fold asks again for every reader. A rule may become stricter only about what
no ledger holds yet: what an older one let in must not turn into a violation.
"""

import base64
import binascii
from collections.abc import Callable, Iterator

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pruneguard.ledger.events import SIGNED, Entry, Event
from pruneguard.ledger.state import AdoptedPolicy, Release, Role, State, Status
from pruneguard.policy import Action

MONITOR = "monitor"
"""The actor of what the service does by itself: it seals, raises alarms, and does what the policy says follows."""


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
    elif event.ledger != state.id:
        yield f"{event.type}: signed for the ledger {event.ledger!r}, and this one is {state.id!r}"


def public_key(text: str) -> Ed25519PublicKey:
    """A public key out of its base64. Raises ValueError when it is not 32 bytes."""
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except binascii.Error as error:
        raise ValueError(f"not a public key: {error}") from error


def _may_open(state: State, entry: Entry) -> Iterator[str]:
    if state.origin:
        yield f"this ledger was opened already, as {state.origin!r}"


def _may_register(state: State, entry: Entry) -> Iterator[str]:
    actor, data = entry.event.actor, entry.event.data
    roles = {Role(role) for role in data["roles"]}
    public_key(data["public_key"])
    if data["actor"] == MONITOR:
        yield f"{MONITOR!r} is the service's own name; nobody has a key for it"
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
    if not state.may(actor, Role.APPROVER):
        yield f"{actor!r} is not an approver"
    if type(data["version"]) is not int:
        yield f"a policy's version is a whole number, not {data['version']!r}"
    if type(data["approvals_min"]) is not int or data["approvals_min"] < 1:
        yield "a policy asks for at least one approval"
    before = state.policies.get(entry.event.refs["policy"])
    if before and before != AdoptedPolicy.of(entry.event):
        yield "this policy was adopted with other terms; a changed policy is another document"


def _may_start(state: State, entry: Entry) -> Iterator[str]:
    actor, data = entry.event.actor, entry.event.data
    if not state.may(actor, Role.ENGINEER):
        yield f"{actor!r} is not an engineer"
    if data["run"] in state.runs:
        yield f"run {data['run']!r} exists already"


def _may_work(state: State, entry: Entry) -> Iterator[str]:
    actor, data = entry.event.actor, entry.event.data
    run = state.runs.get(data["run"])
    if not state.may(actor, Role.ENGINEER):
        yield f"{actor!r} is not an engineer"
    if run is None:
        yield f"no run {data['run']!r}"
    elif run.model != data["model"]:
        yield f"run {run.id!r} is about {run.model!r}, not {data['model']!r}"
    elif run.outcome is not None:
        yield f"run {run.id!r} ended: {run.outcome}"


def _may_judge(state: State, entry: Entry) -> Iterator[str]:
    yield from _may_work(state, entry)
    data, refs = entry.event.data, entry.event.refs
    if refs["policy"] not in state.policies:
        yield f"policy {refs['policy']} was never adopted"
    for what in ("model", "parent", "data"):
        if refs[what] not in state.makers:
            yield f"no run on record made the {what} {refs[what]}"
    if not isinstance(data["passed"], bool) or (data["passed"] and data["objections"]):
        yield f"passed is {data['passed']!r} with the objections {data['objections']!r}"


def _may_propose(state: State, entry: Entry) -> Iterator[str]:
    event = entry.event
    model = state.models.get(event.data["model"])
    verdict = model.verdict(event.refs["verdict"]) if model else None
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
    elif (newer := state.superseding(verdict.policy)) is not None:
        yield f"the verdict rests on a policy that {newer.name!r} version {newer.version} has replaced; judge again"
    number = len(model.releases) + 1 if model else 1
    if type(event.data["number"]) is not int or event.data["number"] != number:
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
    if entry.event.actor != MONITOR:
        yield f"{entry.event.actor!r} is not the monitor"
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


def _release(state: State, event: Event) -> Release | None:
    model = state.models.get(event.data["model"])
    release = model.releases.get(event.data["number"]) if model else None
    named = event.refs.get("model")
    return release if release and named in (None, release.digest) else None


def _no_release(event: Event) -> str:
    return f"no release {event.data['number']} of {event.data['model']!r} with that digest"
