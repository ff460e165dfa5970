"""Rules about documents, holds, retention and erasure: numbers 24 to 28 of `rules.py`."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta

from pruneguard.ledger.events import Entry
from pruneguard.ledger.state import MARK_EVERY, Role, State

TELEMETRY_DAYS_MIN = 183
"""Logs of a high-risk system are kept for six months at least (EU AI Act, Articles 19 and 26)."""


def _may_attach(state: State, entry: Entry) -> Iterator[str]:
    event, data = entry.event, entry.event.data
    if "document" not in event.refs and not data["statement"].strip():
        yield "it names no document and states nothing"
    if (expires := data.get("expires")) is not None and expires <= max(state.clock, event.time):
        yield f"it expired {expires}"
    if (model := data.get("model")) is not None and model not in state.models:
        yield f"no model {model!r}"


def _may_hold(state: State, entry: Entry) -> Iterator[str]:
    yield from _is_keeper(state, entry)
    if entry.event.data["hold"] in state.holds:
        yield f"a hold {entry.event.data['hold']!r} stands already"


def _may_lift(state: State, entry: Entry) -> Iterator[str]:
    yield from _is_keeper(state, entry)
    if entry.event.data["hold"] not in state.holds:
        yield f"no hold {entry.event.data['hold']!r} stands; those that do are {sorted(state.holds) or 'none'}"


def _may_drop(state: State, entry: Entry) -> Iterator[str]:
    event, data = entry.event, entry.event.data
    if not state.may(event.actor, Role.ADMIN):
        yield f"{event.actor!r} is not an admin"
    if data["class"] != "telemetry":
        yield "decisions are kept as long as the ledger: every later one rests on them"
    for hold in state.holds.values():
        if hold.scope in ("telemetry", "all"):
            yield f"the hold {hold.hold!r} stands on {hold.scope}"
    now = max(state.clock, event.time)
    if datetime.fromisoformat(now) - datetime.fromisoformat(data["before"]) < timedelta(days=TELEMETRY_DAYS_MIN):
        yield f"before is {data['before']}; telemetry is kept for {TELEMETRY_DAYS_MIN} days, and now is {now}"
    boundary = MARK_EVERY * bisect_left(state.marks, data["before"])
    if (end := data["entries"][-1][1]) > boundary:
        yield f"entry {end - 1} is not before {data['before']}: whole tiles up to {boundary} are"
    for start, end in data["entries"]:
        if (at := bisect_left(state.kept, start)) < len(state.kept) and state.kept[at] < end:
            yield f"entry {state.kept[at]} is not telemetry"
        before = bisect_left(state.absent, (end,)) - 1  # the last of those that begin before this range ends
        if before >= 0 and state.absent[before][1] > start:
            yield f"entries {start} to {end - 1} are absent already, or some of them"


def _may_describe(state: State, entry: Entry) -> Iterator[str]:
    yield from _is_keeper(state, entry)
    for commitment in sorted(state.commitments.keys() & set(entry.event.data["commitments"])):
        yield f"{commitment} is on record already; make it with another salt"


def _may_erase(state: State, entry: Entry) -> Iterator[str]:
    yield from _is_keeper(state, entry)
    named = set(entry.event.data["commitments"])
    subjects = {f"subject:{state.commitments[commitment]}" for commitment in named & state.commitments.keys()}
    for hold in state.holds.values():
        if hold.scope == "all" or hold.scope in subjects:
            yield f"the hold {hold.hold!r} stands on {hold.scope}"
    for commitment in sorted(named):
        if commitment not in state.commitments:
            yield f"{commitment} was never on record"
        elif commitment in state.erased:
            yield f"{commitment} was erased already, at {state.erased[commitment]}"


def _is_keeper(state: State, entry: Entry) -> Iterator[str]:
    actor = entry.event.actor
    if not (state.may(actor, Role.AUDITOR) or state.may(actor, Role.ADMIN)):
        yield f"{actor!r} is neither auditor nor admin"


RULES: Mapping[str, Callable[[State, Entry], Iterator[str]]] = {
    "document.attached": _may_attach,
    "hold.placed": _may_hold,
    "hold.lifted": _may_lift,
    "retention.applied": _may_drop,
    "subject.described": _may_describe,
    "subject.erased": _may_erase,
}
