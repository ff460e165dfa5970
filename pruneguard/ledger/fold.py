"""From events to state. Pure, incremental, and the same code in service, dashboard and verifier."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from operator import itemgetter
from typing import Any

from pruneguard.ledger.events import TELEMETRY, Entry, Event
from pruneguard.ledger.people import look
from pruneguard.ledger.promotion import makers
from pruneguard.ledger.rules import objections
from pruneguard.ledger.state import (
    MARK_EVERY,
    Act,
    AdoptedPolicy,
    Alarm,
    Approval,
    Assurance,
    Attachment,
    Diverted,
    Drill,
    GivenVerdict,
    Held,
    Hold,
    Model,
    Person,
    Release,
    Role,
    Run,
    SelfTest,
    State,
    Status,
    Stretch,
    Token,
    Waiver,
)


def apply(state: State, index: int, entry: Entry) -> None:
    """Fold the entry at `index` into `state`; one that breaks a rule becomes a violation and changes nothing else."""
    _require_next(state, index)
    if why := admit(state, entry):
        state.violations.extend((index, reason) for reason in why)
        state.kept.append(index)  # else it could be dropped, and with it what was wrong
        _advance(state)


def admit(state: State, entry: Entry) -> list[str]:
    """Let an entry take effect as the next one, or return every reason why it may not; then nothing changes at all."""
    if why := objections(state, entry):
        return why
    event = entry.event
    state.clock = max(state.clock, event.time)
    if (effect := _EFFECTS.get(event.type)) is not None:
        effect(state, state.size, entry)
    if event.type not in TELEMETRY:
        state.kept.append(state.size)
    if entry.envelope is not None:
        state.signed.add(event.id)
    if event.causation is not None:
        state.causations[event.causation] = state.size
    _advance(state)
    return []


def skip(state: State, index: int) -> None:
    """Pass over an entry whose body retention has dropped. That it may be absent, only a later entry can say."""
    _require_next(state, index)
    if state.skipped and state.skipped[-1][1] == index:
        state.skipped[-1] = (state.skipped[-1][0], index + 1)
    else:
        state.skipped.append((index, index + 1))
    _advance(state)


def _require_next(state: State, index: int) -> None:
    if index != state.size:
        raise ValueError(f"entry {index} after {state.size} entries: the fold takes them in order")


def _advance(state: State) -> None:
    state.size += 1
    if state.size % MARK_EVERY == 0:
        state.marks.append(state.clock)


def _opened(state: State, index: int, entry: Entry) -> None:
    state.origin, state.id = entry.event.data["origin"], entry.event.id


# -- people and policies


def _registered(state: State, index: int, entry: Entry) -> None:
    data = entry.event.data
    roles = frozenset(Role(role) for role in data["roles"])
    state.people[data["actor"]] = Person(data["actor"], data["person"], data["public_key"], roles)
    state.accounts.setdefault(data["person"], set()).add(data["actor"])
    for kind in ("actor", "person"):
        state.looks[kind, look(data[kind])] = data[kind]
    state.keys[data["public_key"]] = data["actor"]


def _rotated(state: State, index: int, entry: Entry) -> None:
    data = entry.event.data
    state.people[data["actor"]] = replace(state.people[data["actor"]], public_key=data["public_key"])
    state.keys[data["public_key"]] = data["actor"]


def _revoked(state: State, index: int, entry: Entry) -> None:
    actor = entry.event.data["actor"]
    state.people[actor] = replace(state.people[actor], public_key=None, roles=frozenset())
    for token in [token for token in state.tokens.values() if token.holder == actor and token.ended is None]:
        state.tokens[token.token] = replace(token, ended=f"the key of {actor} was revoked")


def _granted(state: State, index: int, entry: Entry) -> None:
    person = state.people[entry.event.data["actor"]]
    roles = person.roles.union(map(Role, entry.event.data["roles"]))
    state.people[person.actor] = replace(person, roles=roles)


def _ungranted(state: State, index: int, entry: Entry) -> None:
    person = state.people[entry.event.data["actor"]]
    roles = person.roles.difference(map(Role, entry.event.data["roles"]))
    state.people[person.actor] = replace(person, roles=roles)


def _adopted(state: State, index: int, entry: Entry) -> None:
    policy = AdoptedPolicy.of(entry.event)
    current = state.in_force.get(policy.name)
    if current == policy:
        return
    so_far = state.pending.pop(policy.digest, policy).adopted_by
    policy = replace(policy, adopted_by=(*so_far, entry.event.actor))
    if current is not None and len(policy.adopted_by) < current.approvals_min:
        state.pending[policy.digest] = policy
        return
    state.policies[policy.digest] = state.in_force[policy.name] = policy


# -- runs and verdicts


def _started(state: State, index: int, entry: Entry) -> None:
    event, data = entry.event, entry.event.data
    author = state.person(event.actor)
    state.runs[data["run"]] = Run(data["run"], data["model"], event.refs["manifest"], event.actor, {author})
    state.models.setdefault(data["model"], Model(data["model"]))


def _worked(state: State, index: int, entry: Entry) -> None:
    event, nobody = entry.event, frozenset[str]()
    person = state.person(event.actor)
    admitted = event.type == "data.admitted"  # whatever else it names, it makes the data, and of nothing
    made = event.refs["data" if admitted else "model"]
    of = () if admitted else ("data", "parent")
    sources = (state.makers.get(event.refs.get(name, ""), nobody) for name in of)
    state.makers[made] = state.makers.get(made, nobody).union({person}, *sources)
    state.runs[event.data["run"]].makers.add(person)


def _tried(state: State, index: int, entry: Entry) -> None:
    state.runs[entry.event.data["run"]].makers.add(state.person(entry.event.actor))


def _finished(state: State, index: int, entry: Entry) -> None:
    state.runs[entry.event.data["run"]].outcome = entry.event.data["outcome"]


def _judged(state: State, index: int, entry: Entry) -> None:
    data, refs = entry.event.data, entry.event.refs
    verdict = GivenVerdict(
        digest=refs["verdict"],
        run=data["run"],
        candidate=refs["model"],
        twin=refs["parent"],
        data=refs["data"],
        policy=refs["policy"],
        evidence=tuple(refs["evidence"]),
        split=data["split"],
        passed=data["passed"],
        rules=data["rules"],
        objections=dict(data["objections"]),
        lineage=refs.get("lineage"),
        index=index,
    )
    model = state.models[data["model"]]
    model.verdicts.append(verdict)
    model.by_digest.setdefault(verdict.digest, verdict)
    state.runs[verdict.run].makers.add(state.person(entry.event.actor))


def _self_tested(state: State, index: int, entry: Entry) -> None:
    event, data, refs = entry.event, entry.event.data, entry.event.refs
    what = (data["run"], data["model"], refs["policy"], refs["report"])
    state.self_tests.append(SelfTest(*what, data["refused"], data["of"], event.time, index))


def _drilled(state: State, index: int, entry: Entry) -> None:
    event, data, refs = entry.event, entry.event.data, entry.event.refs
    counts = (data["refused"], data["of"], data["clean_passed"], data["clean_of"])
    state.drills.append(Drill(refs["policy"], refs["report"], *counts, event.actor, event.time, index))


def _waived(state: State, index: int, entry: Entry) -> None:
    event, data = entry.event, entry.event.data
    digest = event.refs["model"]
    state.waivers[digest, data["rule"]] = Waiver(
        event=event.id,
        model=data["model"],
        digest=digest,
        rule=data["rule"],
        verdict=event.refs["verdict"],
        reason=data["reason"],
        control=data["control"],
        granted_by=event.actor,
        granted_at=event.time,
        expires=data["expires"],
        before=data["before"],
        after=data["after"],
        index=index,
    )


# -- releases


def _proposed(state: State, index: int, entry: Entry) -> None:
    event = entry.event
    model = state.models[event.data["model"]]
    verdict = model.by_digest[event.refs["verdict"]]
    binding = state.binding(verdict.policy, model.name)
    model.releases[event.data["number"]] = Release(
        number=event.data["number"],
        model=model.name,
        digest=verdict.candidate,
        twin=verdict.twin,
        verdict=verdict.digest,
        policy=verdict.policy,
        author=event.actor,
        makers=makers(state, verdict) | {state.person(event.actor)},
        status=Status.PROPOSED,
        proposed_at=event.time,
        approvals_min=max(policy.approvals_min for policy in binding),
        clicks=all(policy.server_attested for policy in binding),
        waivers=tuple(sorted(verdict.objections)),
        changed_at=event.time,
        index=index,
    )


def _approved(state: State, index: int, entry: Entry) -> None:
    event = entry.event
    release = state.models[event.data["model"]].releases[event.data["number"]]
    assurance = Assurance.SIGNED if entry.envelope is not None else Assurance.SERVER_ATTESTED
    person = state.person(event.actor)
    release.approvals.append(Approval(event.actor, person, assurance, event.data["reason"], event.time, index))
    if len(release.approvals) >= release.approvals_min:
        release.status, release.changed_at = Status.APPROVED, event.time


def _shifted(state: State, index: int, entry: Entry) -> None:
    event = entry.event
    model = state.models[event.data["model"]]
    release = model.releases[event.data["number"]]
    share = float(event.data["share"])
    if share < 1:
        _stands(event, release, Status.CANARY, share)
    else:
        if (before := model.live) is not None:
            _stands(event, before, Status.RETIRED, 0.0)
        _stands(event, release, Status.LIVE, 1.0)
        release.live_at = index
    release.stepped_at, release.comparison, release.shadow = state.clock, event.refs.get("comparison"), 0.0
    _note(model, index, event)


def _rolled_back(state: State, index: int, entry: Entry) -> None:
    event, data = entry.event, entry.event.data
    model = state.models[data["model"]]
    release, target = model.releases[data["number"]], model.releases[data["to"]]
    _stands(event, release, Status.ROLLED_BACK, 0.0)
    release.held = None
    if target.status is not Status.LIVE:
        _stands(event, target, Status.LIVE, 1.0)
        # What has lapsed while it did not answer is told anew.
        state.told.difference_update(state.waivers[target.digest, rule].event for rule in target.waivers)
    if model.diverted is not None and model.diverted.to == release.number:
        model.diverted = replace(model.diverted, to=target.number)
    _note(model, index, event)


def _stands(event: Event, release: Release, status: Status, share: float) -> None:
    release.status, release.share, release.changed_at = status, share, event.time


def _note(model: Model, index: int, event: Event) -> None:
    """Write down what answers from now on, where that has changed: first what stops, then what begins."""
    before, now, history = model.shares, model.answering, model.history
    changed = {number: now.get(number, 0.0) for number in before.keys() | now.keys()}
    for number, share in sorted(changed.items(), key=itemgetter(1)):
        if share != before.get(number, 0.0):
            # In the log's order: a clock that was set back puts nothing before what was there already.
            time = max(event.time, history[-1].time) if history else event.time
            history.append(Stretch(number, share, index, time))


def _copied(state: State, index: int, entry: Entry) -> None:
    data = entry.event.data
    state.models[data["model"]].releases[data["number"]].shadow = float(data.get("share") or 0)


def _diverted(state: State, index: int, entry: Entry) -> None:
    event, model = entry.event, state.models[entry.event.data["model"]]
    model.diverted = Diverted(event.data.get("to"), event.actor, event.data["reason"], event.time)
    _note(model, index, event)


def _restored(state: State, index: int, entry: Entry) -> None:
    model = state.models[entry.event.data["model"]]
    model.diverted = None
    _note(model, index, entry.event)


def _paused(state: State, index: int, entry: Entry) -> None:
    event, data = entry.event, entry.event.data
    state.models[data["model"]].releases[data["number"]].held = Held(event.actor, data["reason"], event.time)


def _resumed(state: State, index: int, entry: Entry) -> None:
    data = entry.event.data
    state.models[data["model"]].releases[data["number"]].held = None


# -- what was seen


def _sealed(state: State, index: int, entry: Entry) -> None:
    _remember(state, state.models[entry.event.data["model"]].batches, index, entry.event)


def _drifted(state: State, index: int, entry: Entry) -> None:
    _remember(state, state.models[entry.event.data["model"]].drift, index, entry.event)


def _remember(state: State, newest: deque[Mapping[str, Any]], index: int, event: Event) -> None:
    if len(newest) == newest.maxlen:
        state.causations.pop(newest[0]["causation"], None)
    told = {"refs": dict(event.refs), "time": event.time, "index": index, "causation": event.causation}
    newest.append({**event.data, **told})


def _alarmed(state: State, index: int, entry: Entry) -> None:
    event, data = entry.event, entry.event.data
    alarm = Alarm(event.id, data["model"], data["number"], data["detector"], data["cause"], event.time, data)
    state.alarms[alarm.event] = alarm
    state.models[alarm.model].alarms.append(alarm)
    if (waiver := data.get("waiver")) is not None:
        state.told.add(waiver)


# -- keeping


def _attached(state: State, index: int, entry: Entry) -> None:
    event, data = entry.event, entry.event.data
    state.attachments.append(
        Attachment(
            framework=data["framework"],
            control=data["control"],
            title=data["title"],
            statement=data["statement"],
            document=event.refs.get("document"),
            model=data.get("model"),
            by=event.actor,
            expires=data.get("expires"),
            time=event.time,
            index=index,
        )
    )


def _held(state: State, index: int, entry: Entry) -> None:
    event, data = entry.event, entry.event.data
    state.holds[data["hold"]] = Hold(data["hold"], data["scope"], data["reason"], event.actor, event.time, index)


def _lifted(state: State, index: int, entry: Entry) -> None:
    del state.holds[entry.event.data["hold"]]


def _dropped(state: State, index: int, entry: Entry) -> None:
    ranges = [(start, end) for start, end in entry.event.data["entries"]]
    state.absent = sorted([*state.absent, *ranges])
    _forget(state, state.denials, ranges)
    for model in state.models.values():
        for newest in (model.batches, model.drift):
            _forget(state, newest, ranges)


def _forget(state: State, newest: deque[Mapping[str, Any]], ranges: list[tuple[int, int]]) -> None:
    """Remember no more of what is dropped than a reader who comes when it is gone."""
    for told in [told for told in newest if any(start <= told["index"] < end for start, end in ranges)]:
        newest.remove(told)
        state.causations.pop(told["causation"], None)


def _described(state: State, index: int, entry: Entry) -> None:
    person, commitments = entry.event.data["person"], entry.event.data["commitments"]
    state.commitments |= dict.fromkeys(commitments, person)
    state.subjects.setdefault(person, set()).update(commitments)


def _erased(state: State, index: int, entry: Entry) -> None:
    for commitment in entry.event.data["commitments"]:
        state.erased[commitment] = index
        state.subjects[state.commitments[commitment]].discard(commitment)


# -- access


def _issued(state: State, index: int, entry: Entry) -> None:
    event, data = entry.event, entry.event.data
    state.tokens[data["token"]] = Token(
        token=data["token"],
        secret=event.refs["secret"],
        holder=data["holder"],
        acts=frozenset(map(Act, data["acts"])),
        models=frozenset(data["models"]),
        per_second=data["per_second"],
        reason=data["reason"],
        issued_by=event.actor,
        issued_at=event.time,
        expires=data["expires"],
        index=index,
    )


def _ended(state: State, index: int, entry: Entry) -> None:
    data = entry.event.data
    state.tokens[data["token"]] = replace(state.tokens[data["token"]], ended=data["reason"])


def _denied(state: State, index: int, entry: Entry) -> None:
    _remember(state, state.denials, index, entry.event)


_EFFECTS: Mapping[str, Callable[[State, int, Entry], None]] = {
    "ledger.opened": _opened,
    "key.registered": _registered,
    "key.rotated": _rotated,
    "key.revoked": _revoked,
    "role.granted": _granted,
    "role.revoked": _ungranted,
    "policy.adopted": _adopted,
    "run.started": _started,
    "run.finished": _finished,
    "data.admitted": _worked,
    "model.trained": _worked,
    "model.pruned": _worked,
    "attempt.failed": _tried,
    "verdict.given": _judged,
    "gates.self_tested": _self_tested,
    "gates.drilled": _drilled,
    "waiver.granted": _waived,
    "release.proposed": _proposed,
    "release.approved": _approved,
    "traffic.shifted": _shifted,
    "traffic.copied": _copied,
    "traffic.diverted": _diverted,
    "traffic.restored": _restored,
    "release.held": _paused,
    "release.resumed": _resumed,
    "release.rolled_back": _rolled_back,
    "batch.sealed": _sealed,
    "drift.reported": _drifted,
    "alarm.raised": _alarmed,
    "document.attached": _attached,
    "hold.placed": _held,
    "hold.lifted": _lifted,
    "retention.applied": _dropped,
    "subject.described": _described,
    "subject.erased": _erased,
    "token.issued": _issued,
    "token.revoked": _ended,
    "access.denied": _denied,
}
