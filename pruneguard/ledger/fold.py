"""From events to state. Pure, incremental, and the same code in service, dashboard and verifier."""

from collections.abc import Callable
from typing import Any

from pruneguard.ledger.events import Entry, Event
from pruneguard.ledger.rules import objections
from pruneguard.ledger.state import AdoptedPolicy, Alarm, GivenVerdict, Model, Person, Release, Role, Run, State, Status


def apply(state: State, index: int, entry: Entry) -> None:
    """Fold the entry at `index` into `state`; one that breaks a rule becomes a violation and changes nothing else."""
    if index != state.size:
        raise ValueError(f"entry {index} after {state.size} entries: the fold takes them in order")
    try:
        why = admit(state, entry)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = [f"{entry.event.type}: malformed: {type(error).__name__} {error}"]
    if why:
        state.size += 1
        state.violations.extend((index, reason) for reason in why)


def admit(state: State, entry: Entry) -> list[str]:
    """Let an entry take effect as the next one, or return every reason why it may not; then nothing changes at all."""
    if why := objections(state, entry):
        return why
    event = entry.event
    if effect := _EFFECTS.get(event.type):
        effect(state, state.size, event)
    if event.causation is not None:
        state.causations[event.causation] = state.size
    state.size += 1
    return []


def _opened(state: State, index: int, event: Event) -> None:
    state.origin, state.id = event.data["origin"], event.id


def _registered(state: State, index: int, event: Event) -> None:
    data = event.data
    roles = frozenset(Role(role) for role in data["roles"])
    state.people[data["actor"]] = Person(data["actor"], data["public_key"], roles)


def _adopted(state: State, index: int, event: Event) -> None:
    adopted = AdoptedPolicy.of(event)
    state.policies[adopted.digest] = adopted


def _started(state: State, index: int, event: Event) -> None:
    data = event.data
    state.runs[data["run"]] = Run(data["run"], data["model"], event.refs["manifest"], event.actor, {event.actor})
    state.models.setdefault(data["model"], Model(data["model"]))


def _worked(state: State, index: int, event: Event) -> None:
    made = event.refs.get("model", event.refs["data"])
    state.makers.setdefault(made, set()).add(event.actor)
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
    verdict = model.verdict(event.refs["verdict"])
    assert verdict is not None  # the rule asked for it
    made = (state.makers.get(digest, set()) for digest in (verdict.candidate, verdict.twin, verdict.data))
    model.releases[event.data["number"]] = Release(
        number=event.data["number"],
        model=model.name,
        digest=verdict.candidate,
        twin=verdict.twin,
        verdict=verdict.digest,
        policy=verdict.policy,
        author=event.actor,
        makers=frozenset({event.actor}.union(state.runs[verdict.run].makers, *made)),
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
    release.status, release.live_at = Status.LIVE, index


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
