"""Records past their period: which ones there are, and how their bodies and artefacts go while every proof still holds.

Dropping takes three steps, each finished before the next begins:
  1. an admin's signed `retention.applied` is recorded: the positions, and the artefacts that only those entries name;
  2. the artefacts are removed;
  3. the bodies are dropped. The hashes of the tree stay.

The record comes first. It is where a legal hold says no, before anything is lost; and it is what the next run finishes
an interrupted one by, and applies again to artefacts that came back from a backup.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from pruneguard import canonical
from pruneguard.artifacts import Artifacts
from pruneguard.ledger.events import Entry, Event, utc
from pruneguard.ledger.keys import Signer
from pruneguard.ledger.ledger import Ledger
from pruneguard.ledger.shapes import is_digest
from pruneguard.ledger.state import State
from pruneguard.privacy.schedule import DROPPED, RecordClass, Schedule

Range: TypeAlias = "tuple[int, int]"

RANGES_MAX = 2_000
"""Ranges in one event, so that it stays below the size of an entry; what is left goes with the next one."""

_REMOVED = "retention-removed/v1"
_READ_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Standing:
    """One class on one day: how much there is of it, what of it is past its period, and what keeps it."""

    record_class: RecordClass
    months: int
    before: str
    """What happened earlier is past its period."""
    entries: int
    past: tuple[Range, ...]
    """Positions whose bodies may go; none in a class that stays."""
    holds: tuple[str, ...]
    """Legal holds that keep them all the same."""

    @property
    def due(self) -> tuple[Range, ...]:
        return () if self.holds else self.past


@dataclass(frozen=True, slots=True)
class Dropped:
    """What went with one event."""

    index: int
    record_class: RecordClass
    bodies: int
    artifacts: int


def survey(state: State, schedule: Schedule, *, as_of: datetime) -> list[Standing]:
    """Every class as it stands on that day, in the schedule's order."""
    decisions = len(state.kept)
    entries = {
        RecordClass.DECISIONS: decisions,
        RecordClass.TELEMETRY: state.size - decisions - count(state.absent),
    }
    found = []
    for name, period in schedule.periods.items():
        before = utc(schedule.before(name, as_of))
        past = tuple(state.droppable(before)) if name in DROPPED else ()
        found.append(Standing(name, period.months, before, entries[name], past, _holds(state, name)))
    return found


def apply(
    ledger: Ledger, artifacts: Artifacts, schedule: Schedule, *, as_of: datetime, signer: Signer
) -> Iterator[Dropped]:
    """Drop what is due on that day, after finishing what was left undone; one value for every event recorded.

    Raises InvalidInputError where the rules object; what was dropped before that stays dropped.
    """
    finish(ledger, artifacts)
    for standing in survey(ledger.state(), schedule, as_of=as_of):
        for start in range(0, len(standing.due), RANGES_MAX):
            ranges = standing.due[start : start + RANGES_MAX]
            removed = only_named_in(ledger, ranges)
            event = order(artifacts, schedule, standing, ranges, removed, actor=signer.actor)
            recorded = ledger.record(event, signer=signer)
            # Asked again: somebody may have named one of them since.
            there = _remove(artifacts, _unnamed(ledger, removed, besides=ranges))
            ledger.store.drop_bodies(ranges)
            yield Dropped(recorded.index, standing.record_class, count(ranges), there)


def finish(ledger: Ledger, artifacts: Artifacts) -> None:
    """Carry out what is recorded as dropped and still there, after a run cut short or out of a restored backup.

    While a legal hold stands, what is still there stays: the hold is the newer word.
    """
    state = ledger.state()
    if not state.absent or any(_holds(state, record_class) for record_class in DROPPED):
        return
    void = {index for index, _ in state.violations}
    for index, event in _events(ledger, ranges_of(state.kept)):
        if event.type == "retention.applied" and index not in void and "removed" in event.refs:
            with canonical.opened(artifacts.get(event.refs["removed"]), _REMOVED) as document:
                back = {digest for digest in document["artifacts"] if digest in artifacts}
            ranges = [(start, end) for start, end in event.data["entries"]]
            _remove(artifacts, _unnamed(ledger, back, besides=ranges))
    left = [index for index, _ in _events(ledger, state.absent)]
    ledger.store.drop_bodies(ranges_of(left))  # where none are left, it still wipes what dropping left behind


def order(
    artifacts: Artifacts,
    schedule: Schedule,
    standing: Standing,
    ranges: Sequence[Range],
    removed: set[str],
    *,
    actor: str,
) -> Event:
    """The event that says what goes and why, not recorded yet. `removed` are artefacts that nothing else names."""
    refs = {
        "schedule": artifacts.put(schedule.encode()),
        "removed": artifacts.put(canonical.encode({"kind": _REMOVED, "artifacts": sorted(removed)})),
    }
    data = {
        "class": standing.record_class.value,
        "before": standing.before,
        "entries": [list(pair) for pair in ranges],
        "reason": f"kept {standing.months} months by the schedule {schedule.name} {schedule.version}",
    }
    return Event("retention.applied", actor, data, refs)


def only_named_in(ledger: Ledger, ranges: Sequence[Range]) -> set[str]:
    """Digests that entries in `ranges` name and no entry outside does."""
    named = {digest for _, event in _events(ledger, ranges) for digest in _digests(event)}
    return _unnamed(ledger, named, besides=ranges)


def ranges_of(positions: Sequence[int]) -> list[Range]:
    """Rising positions as half-open ranges.

    >>> ranges_of([3, 4, 5, 9])
    [(3, 6), (9, 10)]
    """
    ranges: list[Range] = []
    for position in positions:
        if ranges and ranges[-1][1] == position:
            ranges[-1] = (ranges[-1][0], position + 1)
        else:
            ranges.append((position, position + 1))
    return ranges


def count(ranges: Sequence[Range]) -> int:
    """How many positions there are in half-open ranges.

    >>> count([(3, 6), (9, 10)])
    4
    """
    return sum(end - start for start, end in ranges)


def _unnamed(ledger: Ledger, digests: set[str], *, besides: Sequence[Range]) -> set[str]:
    """Those of `digests` that no entry names besides the ones in ranges."""
    if not digests:
        return set()
    inside, left = _positions(besides), set(digests)
    for index, event in _events(ledger):
        if index not in inside:
            left.difference_update(_digests(event))
    return left


def _holds(state: State, record_class: RecordClass) -> tuple[str, ...]:
    return tuple(sorted(hold.hold for hold in state.holds.values() if hold.scope in ("all", record_class.value)))


def _remove(artifacts: Artifacts, digests: set[str]) -> int:
    """Returns how many of them there were."""
    there = [digest for digest in sorted(digests) if digest in artifacts]
    for digest in there:
        artifacts.remove(digest)
    return len(there)


def _events(ledger: Ledger, ranges: Sequence[Range] | None = None) -> Iterator[tuple[int, Event]]:
    """Every event in ranges (in the whole log where none are given) whose body is there, with its position."""
    for first, behind in [(0, ledger.size)] if ranges is None else ranges:
        for start in range(first, behind, _READ_ROWS):
            for index, raw in enumerate(ledger.raw(start, min(start + _READ_ROWS, behind)), start):
                if raw:
                    yield index, Entry.decode(raw).event


def _positions(ranges: Sequence[Range]) -> set[int]:
    return {index for start, end in ranges for index in range(start, end)}


def _digests(event: Event) -> Iterator[str]:
    """Every digest that an event names, in refs or data."""
    waiting: list[Any] = [event.refs, event.data]
    while waiting:
        value = waiting.pop()
        if is_digest(value):
            yield value
        elif isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
