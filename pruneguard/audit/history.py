"""A whole log, folded once from its first entry to its last, and what a selection takes of it.

Export and verifier read alike, so what one selects the other expects. A log may have millions of entries: of each, this
keeps its position, if it is about the model, and no more.
"""

from array import array
from bisect import insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pruneguard.audit.bundle import DECISIONS
from pruneguard.audit.log import Log
from pruneguard.errors import InvalidInputError
from pruneguard.ledger import fold, rules
from pruneguard.ledger.events import TELEMETRY, Entry, Event
from pruneguard.ledger.state import State

_OBJECTIONS_MAX = 100

Objection = tuple[int, str]
"""The position of an entry, and what is wrong with it."""


def _positions() -> "array[int]":
    return array("Q")


@dataclass(slots=True)
class History:
    """What a log says from beginning to end, for a bundle about `model` between `start` and `end`."""

    model: str
    start: str | None
    end: str | None
    state: State = field(default_factory=State)
    unsigned: list[Objection] = field(default_factory=list)
    """Acts that lack the signature which they need."""
    forbidden: list[Objection] = field(default_factory=list)
    """Every other rule that an entry breaks."""
    unserved: list[Objection] = field(default_factory=list)
    """Batches of answers by a version to which the log never gave traffic."""
    gaps: list[Objection] = field(default_factory=list)
    """Batches whose number does not follow that of the batch before."""
    absent: "array[int]" = field(default_factory=_positions)
    """Entries without a body."""
    positions: Sequence[int] = ()
    kinds: "dict[str, array[int]]" = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=lambda: {"entries": 0, "decisions": 0})
    served: set[tuple[str, int]] = field(default_factory=set)
    _within: "array[int]" = field(default_factory=_positions)
    _earlier: "list[tuple[int, Event]]" = field(default_factory=list)
    _later: "list[tuple[int, Event]]" = field(default_factory=list)
    """What says that it happened after the span. Where it stands before what happened in it, that may rest on it."""
    _named: set[tuple[str, Any]] = field(default_factory=set)
    _batches: dict[tuple[str, int], int] = field(default_factory=dict)
    """The number that the next batch of a version has."""

    def take(self, index: int, raw: bytes) -> None:
        """The next entry. Raises InvalidInputError when its bytes are none."""
        if not raw:
            self.absent.append(index)
            self._batches.clear()  # the batch that is not there may be the one that comes next
            fold.skip(self.state, index)
            return
        entry, before = Entry.decode(raw), len(self.state.violations)
        fold.apply(self.state, index, entry)
        if len(self.state.violations) > before:
            self._object(index, entry, before)
            return
        self._observe(index, entry.event)
        self._select(index, entry.event)

    def finish(self) -> "History":
        """Choose, of what does not say that it happened in the span, that on which the versions in it rest."""
        numbers = {value for name, value in self._named if name == "number"}
        model = self.state.models.get(self.model)
        if model is not None and self.start is not None:
            numbers |= {answering.release.number for answering in model.standing(self.start)}
        releases = [r for r in model.releases.values() if r.number in numbers] if model is not None else []
        for release in releases:
            self._named.add(("number", release.number))
            self._named.add(("verdict", release.verdict))
            self._named.add(("policy", release.policy))
            if model is not None and (verdict := model.verdict(release.verdict)) is not None:
                self._named.add(("run", verdict.run))
        rested = list[int]()
        for index, event in self._earlier:
            if self._named.isdisjoint(_names(event)):
                self._leave(event)
            else:
                rested.append(index)
        rested += self._postdated(before=self._within[-1] if self._within else 0)
        self.positions = array("Q", sorted([*rested, *self._within])) if rested else self._within
        self._earlier.clear()
        self._later.clear()
        return self

    def _postdated(self, *, before: int) -> Iterator[int]:
        """A time is what somebody said: a later one takes nothing out of sight on which an entry of the span rests."""
        for index, event in self._later:
            about, named = event.data.get("model"), set(_names(event))
            if event.type == "policy.adopted":
                named.add(("policy", event.refs["policy"]))
            if index < before and not self._named.isdisjoint(named):
                insort(self.kinds.setdefault(event.type, _positions()), index)
                if about is not None:
                    yield index
            elif about is not None:
                self._leave(event)

    def _object(self, index: int, entry: Entry, before: int) -> None:
        # What broke a rule changed nothing, so asking again gives the same answer.
        unsigned = set(_unsigned(self.state, entry))
        for _, reason in self.state.violations[before:]:
            found = self.unsigned if reason in unsigned else self.forbidden
            if len(found) < _OBJECTIONS_MAX:
                found.append((index, reason))

    def _observe(self, index: int, event: Event) -> None:
        data = event.data
        if event.type in ("traffic.shifted", "traffic.copied"):
            self.served.add((data["model"], data["number"]))
        elif event.type == "batch.sealed":
            version = (data["model"], data["number"])
            if version not in self.served and len(self.unserved) < _OBJECTIONS_MAX:
                self.unserved.append((index, f"{event.refs['model']} answered requests; the log gave it no traffic"))
            if isinstance(number := data.get("batch"), int):
                expected = self._batches.get(version, number if self.absent else 0)
                if number != expected and len(self.gaps) < _OBJECTIONS_MAX:
                    self.gaps.append((index, f"batch {number} of version {version[1]}; expected {expected}"))
                self._batches[version] = number + 1

    def _select(self, index: int, event: Event) -> None:
        about = event.data.get("model")
        if about is not None and about != self.model:
            return
        if self.end is not None and event.time >= self.end:
            if event.type not in TELEMETRY:
                self._later.append((index, event))
            elif about is not None:
                self._leave(event)
            return
        if (positions := self.kinds.get(event.type)) is None:
            positions = self.kinds[event.type] = _positions()
        positions.append(index)
        if about is None:
            return
        if self.start is None or event.time >= self.start:
            self._within.append(index)
            if self.start is not None or self.end is not None:
                self._named.update(_names(event))
        elif event.type in TELEMETRY:
            self._leave(event)
        else:
            self._earlier.append((index, event))

    def _leave(self, event: Event) -> None:
        self.left_out["entries"] += 1
        self.left_out["decisions"] += event.type in DECISIONS


def read(log: Log, *, model: str, start: str | None, end: str | None) -> History:
    """Fold a whole log. Raises InvalidInputError, naming the entry, when one cannot be read."""
    history = History(model, start, end)
    for first, block in log.blocks("folding the log"):
        for index, raw in enumerate(block, first):
            try:
                history.take(index, raw)
            except InvalidInputError as error:
                raise UnreadableError(index, str(error)) from error
    return history.finish()


class UnreadableError(InvalidInputError):
    """The bytes of an entry are no entry."""

    def __init__(self, index: int, detail: str) -> None:
        super().__init__(f"entry {index}: {detail}")
        self.index, self.detail = index, detail


def ranges(positions: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Runs of consecutive positions, as [start, end).

    >>> list(ranges([1, 2, 3, 7]))
    [(1, 4), (7, 8)]
    """
    start = end = -1
    for position in positions:
        if position != end:
            if end > start:
                yield start, end
            start = position
        end = position + 1
    if end > start:
        yield start, end


def _names(event: Event) -> Iterator[tuple[str, Any]]:
    """What ties an event to others of its version: run, release and verdict."""
    for name in ("run", "number"):
        if isinstance(value := event.data.get(name), str | int):
            yield name, value
    if isinstance(verdict := event.refs.get("verdict"), str):
        yield "verdict", verdict


def _unsigned(state: State, entry: Entry) -> list[str]:
    try:
        return list(rules.signature_objections(state, entry))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return [f"{entry.event.type}: malformed: {type(error).__name__} {error}"]
