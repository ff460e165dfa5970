"""Rules about what answers: numbers 21, 22 and 32 to 34 of `rules.py`."""

from collections.abc import Callable, Generator, Iterator, Mapping
from datetime import datetime

from pruneguard.ledger.events import Entry, Event
from pruneguard.ledger.people import MONITOR
from pruneguard.ledger.promotion import (
    CANARY_DETECTOR,
    WAIVER_DETECTOR,
    is_attested_where_it_must_be_signed,
    named_release,
    now_of,
    rests_on_lapsed,
)
from pruneguard.ledger.state import Model, Release, Role, State, Status
from pruneguard.policy import Action, next_share


def _may_shift(state: State, entry: Entry) -> Iterator[str]:
    event = entry.event
    release = yield from named_release(state, event)
    if release is None:
        return
    yield from _is_operator(state, event, or_monitor=True)
    model = state.models[release.model]
    if release.status not in (Status.APPROVED, Status.CANARY):
        yield f"release {release.number} is {release.status}; only an approved release takes traffic"
    else:
        yield from _is_next_step(state, event, release)
    if release.held is not None:
        yield f"release {release.number} is held by {release.held.by!r}: {release.held.reason}; resume it first"
    if model.diverted is not None:
        yield f"the traffic of {model.name!r} is diverted by {model.diverted.by!r}; restore it first"
    other = model.canary
    if other is not None and other.number != release.number:
        yield f"release {other.number} is in canary; finish it first"
    yield from rests_on_lapsed(state, event, release)
    yield from is_attested_where_it_must_be_signed(state, event, release)


def _is_next_step(state: State, event: Event, release: Release) -> Iterator[str]:
    steps, share = state.policies[release.policy].steps, float(event.data["share"])
    onward = next_share(steps, release.share)
    smaller = [step.share for step in steps if step.share < release.share]
    if share != onward and share not in smaller and (share < 1 or state.models[release.model].live is not None):
        yield f"its policy lets it go on from {release.share:g} of the traffic to {onward:g}, not to {share:g}"
    if not 0 < release.share < share:
        return
    step = next(step for step in steps if step.share == release.share)
    stood = datetime.fromisoformat(now_of(state, event)) - datetime.fromisoformat(release.stepped_at)
    if stood.total_seconds() < step.seconds_min:
        yield f"it has had {release.share:g} of the traffic for {stood.total_seconds():.0f} of {step.seconds_min} s"
    if event.actor == MONITOR and not ("comparison" in event.refs and event.data.get("requests") is not None):
        yield "a monitor lets a canary go on for what it counted, and names the comparison and the requests"
    elif event.actor == MONITOR and event.data["requests"] < step.requests_min:
        yield f"it has answered {event.data['requests']} of {step.requests_min} requests"


def _may_roll_back(state: State, entry: Entry) -> Iterator[str]:
    event = entry.event
    release = yield from named_release(state, event)
    if release is None:
        return
    if event.actor == MONITOR:
        yield from _monitor_may_roll_back(state, event, release)
    else:
        yield from _is_operator(state, event)
    if release.status not in (Status.CANARY, Status.LIVE):
        yield f"release {release.number} is {release.status}; there is nothing to roll back"
        return
    model = state.models[release.model]
    target = model.live if release.status is Status.CANARY else model.fallback
    if target is None or target.number != event.data["to"]:
        yield f"release {release.number} can only go back to {target.number if target else 'nothing'}"


def _monitor_may_roll_back(state: State, event: Event, release: Release) -> Iterator[str]:
    alarm = state.alarms.get(event.data.get("alarm") or "")
    policy = state.policies[release.policy]
    if alarm is None or (alarm.model, alarm.number) != (release.model, release.number):
        yield "a monitor rolls back for an alarm about this release, and names it"
    elif alarm.detector == CANARY_DETECTOR:
        if release.status is not Status.CANARY:
            yield "it was compared as a canary, and is none any more"
    elif (policy.on_lapse if alarm.detector == WAIVER_DETECTOR else policy.on_decay) != Action.ROLL_BACK.value:
        yield "the policy does not let a monitor roll back"


def _may_hold(state: State, entry: Entry) -> Iterator[str]:
    event = entry.event
    release = yield from named_release(state, event)
    if release is None:
        return
    yield from _is_operator(state, event)
    yield from is_attested_where_it_must_be_signed(state, event, release)
    if release.status not in (Status.APPROVED, Status.CANARY):
        yield f"release {release.number} is {release.status}; only what is on its way to traffic is held"
    elif release.held is not None:
        yield f"release {release.number} is held by {release.held.by!r} already"


def _may_resume(state: State, entry: Entry) -> Iterator[str]:
    event = entry.event
    release = yield from named_release(state, event)
    if release is None:
        return
    yield from _is_operator(state, event)
    yield from is_attested_where_it_must_be_signed(state, event, release)
    if release.held is None:
        yield f"release {release.number} is not held"


def _may_divert(state: State, entry: Entry) -> Iterator[str]:
    event, to = entry.event, entry.event.data.get("to")
    model = yield from _in_traffic(state, event)
    if model is None:
        return
    if model.diverted is not None and model.diverted.to == to:
        yield f"the traffic of {model.name!r} is diverted so already, by {model.diverted.by!r}"
    if to is None:
        if "model" in event.refs:
            yield "it names a model's digest, and no release to divert to"
        return
    release = model.releases.get(to)
    if release is None or release.digest != event.refs.get("model"):
        yield f"no release {to} of {model.name!r} with that digest"
    elif not release.was_live or release.status not in (Status.LIVE, Status.RETIRED):
        yield f"release {to} is {release.status}; traffic is diverted to what was live and was not rolled back"
    else:
        yield from rests_on_lapsed(state, event, release)


def _may_restore(state: State, entry: Entry) -> Iterator[str]:
    model = yield from _in_traffic(state, entry.event)
    if model is not None and model.diverted is None:
        yield f"the traffic of {model.name!r} is not diverted"


def _may_copy(state: State, entry: Entry) -> Iterator[str]:
    event = entry.event
    release = yield from named_release(state, event)
    if release is None:
        return
    yield from _is_operator(state, event, or_monitor=True)
    yield from is_attested_where_it_must_be_signed(state, event, release)
    if event.data.get("share") is None:
        if not release.shadow:
            yield f"release {release.number} answers no copies"
        return
    model = state.models[release.model]
    if release.status is not Status.APPROVED:
        yield f"release {release.number} is {release.status}; only an approved one answers copies"
    if model.live is None:
        yield "nothing is live whose requests could be copied"
    if model.shadow is not None and model.shadow.number != release.number:
        yield f"release {model.shadow.number} answers copies; end that first"
    yield from rests_on_lapsed(state, event, release)


def _is_operator(state: State, event: Event, *, or_monitor: bool = False) -> Iterator[str]:
    if not (or_monitor and event.actor == MONITOR) and not state.may(event.actor, Role.OPERATOR):
        yield f"{event.actor!r} is not an operator"


def _in_traffic(state: State, event: Event) -> Generator[str, None, Model | None]:
    """The model that an operator's act is about, if any of its releases takes traffic."""
    yield from _is_operator(state, event)
    model = state.models.get(event.data["model"])
    release = (model.live or model.canary) if model is not None else None
    if model is None or release is None:
        yield f"no release of {event.data['model']!r} takes traffic"
        return None
    yield from is_attested_where_it_must_be_signed(state, event, release)
    return model


RULES: Mapping[str, Callable[[State, Entry], Iterator[str]]] = {
    "traffic.shifted": _may_shift,
    "traffic.copied": _may_copy,
    "traffic.diverted": _may_divert,
    "traffic.restored": _may_restore,
    "release.held": _may_hold,
    "release.resumed": _may_resume,
    "release.rolled_back": _may_roll_back,
}
