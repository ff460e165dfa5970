"""In what state each control of a framework is, by the entries of a ledger and the documents they name. Pure.

An index for people who assess, and no more: missing evidence never counts for anything, nothing is added up, and a row
says what its entries show and what they do not.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from heapq import merge
from itertools import islice
from typing import Any, TypeAlias

from pruneguard import canonical
from pruneguard.audit.bundle import DOCUMENT_REFS
from pruneguard.audit.frameworks import COUNTERS, Automation, Control, Framework, Need
from pruneguard.audit.selection import Selection
from pruneguard.errors import InvalidInputError
from pruneguard.ledger.events import Event

CITED = 3
"""Entries that a row cites for each of its needs, the newest; the log holds all of them."""
SEARCHED = 500
"""Entries that are looked into for one need, the newest first."""

Read: TypeAlias = Callable[[str], bytes | None]
"""Digest -> the document's bytes, or None where it is absent."""


class State(StrEnum):
    EVIDENCED = "evidenced"  # all that is wanted is there, and current
    PARTIAL = "partial"  # some of it: the row says what is missing
    STALE = "stale"  # it was there, and is past its expiry or its age
    CONTRADICTED = "contradicted"  # something on record speaks against it
    STATEMENT_ONLY = "statement-only"  # a person says so, and no record or document shows it
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Cited:
    """An entry that a row rests on, and the documents that it names."""

    index: int
    type: str
    time: str
    documents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Attached:
    """What a person signed about a control: a statement, a document or both."""

    index: int
    time: str
    by: str
    title: str
    statement: str
    document: str | None
    expires: str | None
    current: bool


@dataclass(frozen=True, slots=True)
class Against:
    """An entry that speaks against a row, and why."""

    index: int
    why: str


@dataclass(frozen=True, slots=True)
class Row:
    """A control and its state. `system` is the state of the half that the service evidences by itself."""

    control: Control
    state: State
    system: State
    missing: tuple[str, ...]
    cited: tuple[Cited, ...]
    attached: tuple[Attached, ...]
    against: tuple[Against, ...]

    @property
    def positions(self) -> tuple[int, ...]:
        """Positions of every entry that the row names."""
        parts: tuple[Sequence[Cited | Attached | Against], ...] = (self.cited, self.attached, self.against)
        return tuple(sorted({entry.index for part in parts for entry in part}))

    @property
    def shown(self) -> str:
        """What the cited entries show, no more."""
        if not self.cited or not self.control.shows:
            return ""
        return f"In part: {self.control.shows}" if self.system is State.PARTIAL else self.control.shows

    @property
    def why(self) -> str:
        """The state in words."""
        parts = [found.why for found in self.against]
        if self.shown:
            parts.append(self.shown)
        if self.missing:
            parts.append(f"Missing: {'; '.join(self.missing)}.")
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class History:
    """What a ledger holds up to one moment: positions by type of event, and how to read an entry or a document.

    `kinds` holds only what took effect, oldest first. `event` gives None for what is not there, or not about the model
    in question; such an entry is passed over.
    """

    at: str
    kinds: Mapping[str, Sequence[int]]
    event: Callable[[int], Event | None]
    read: Read
    violations: Sequence[tuple[int, str]] = ()
    """Entries that broke a rule, which is why they had no effect."""

    @classmethod
    def of(cls, selection: Selection) -> "History":
        """As of the end of a selection's span."""

        def event(index: int) -> Event | None:
            entry = selection.log[index]
            about = entry.event.data.get("model") if entry is not None else None
            return entry.event if entry is not None and about in (None, selection.model) else None

        at = selection.end or selection.state.clock
        newest = selection.state.violations[-SEARCHED:]
        broken = [(i, why) for i, why in newest if (e := event(i)) is not None and e.time <= at]
        return cls(at, selection.kinds, event, selection.document, broken)

    def newest(self, *types: str) -> Iterator[tuple[int, Event]]:
        """Entries of these types, the newest first."""
        for index in merge(*(reversed(self.kinds.get(name, ())) for name in types), reverse=True):
            if (event := self.event(index)) is not None:
                yield index, event

    def oldest(self, *types: str) -> list[tuple[int, Event]]:
        return list(self.newest(*types))[::-1]


def assess(framework: Framework, history: History) -> tuple[Row, ...]:
    """Every control of the framework, in its order, each with its state as of `history.at`."""
    return tuple(_row(framework, control, history) for control in framework.controls)


def moment(text: Any) -> datetime | None:
    """A date or time in UTC; None for anything that is neither."""
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def _row(framework: Framework, control: Control, history: History) -> Row:
    attached = tuple(_attached(framework, control, history))
    against = tuple(_against(control, history, attached))
    found = [(need, _fitting(need, history)) for need in control.needs]
    missing = [need.words for need, entries in found if not entries]
    stale = [need.words for need, entries in found if entries and _is_stale(need, control, entries[0], history)]
    if not control.needs or len(missing) == len(found):
        system = State.NONE
    else:
        system = State.PARTIAL if missing else State.STALE if stale else State.EVIDENCED
    cited = {index: _cite(index, event, history) for _, entries in found for index, event in entries}
    state = State.CONTRADICTED if against else _state(control, system, attached)
    absent = [*missing, *(f"current {words}" for words in stale), *_human_half(control, attached)]
    return Row(control, state, system, tuple(absent), tuple(cited[i] for i in sorted(cited)), attached, against)


def _state(control: Control, system: State, attached: Sequence[Attached]) -> State:
    current = [item for item in attached if item.current]
    if control.automation is Automation.HUMAN:
        if any(item.document for item in current):
            return State.EVIDENCED
        return State.STATEMENT_ONLY if current else State.STALE if attached else State.NONE
    if system is State.NONE:
        return State.STATEMENT_ONLY if current else State.NONE
    if control.automation is Automation.SHARED and system is State.EVIDENCED and not current:
        return State.STALE if attached else State.PARTIAL
    return system


def _human_half(control: Control, attached: Sequence[Attached]) -> Iterator[str]:
    """What a person still has to bring."""
    current = [item for item in attached if item.current]
    lapsed = f", as entry {attached[-1].index} has expired" if attached and not current else ""
    if control.automation is Automation.SHARED and not current:
        yield f"a person's signed statement{lapsed}"
    if control.automation is Automation.HUMAN and not any(item.document for item in current):
        yield f"a document that a person attaches{lapsed}"


# -- entries --------------------------------------------------------------------------------------------------------


def _fitting(need: Need, history: History) -> list[tuple[int, Event]]:
    """The newest entries that meet a need."""
    found: list[tuple[int, Event]] = []
    for index, event in islice(history.newest(*need.events), SEARCHED):
        if any(_meets(need, document) for document in _places(need, event, history)):
            found.append((index, event))
            if len(found) == CITED:
                break
    return found


def _places(need: Need, event: Event, history: History) -> Iterator[Any]:
    if need.inside is None:
        yield event.data
        return
    for digest in _digests(event.refs.get(need.inside)):
        if (content := history.read(digest)) is not None:
            try:
                yield canonical.decode(content)
            except InvalidInputError:
                continue  # a document that is no JSON shows nothing


def _meets(need: Need, document: Any) -> bool:
    if not need.has:
        return True
    values = [value for value in _values(document, need.has.split("/")) if value not in (None, "", [], {})]
    if need.equals is not None:
        values = [value for value in values if value == need.equals and type(value) is type(need.equals)]
    return any(need.differs is None or value != need.differs for value in values)


def _values(document: Any, steps: Sequence[str]) -> list[Any]:
    if not steps:
        return [document]
    if not isinstance(document, Mapping):
        return []
    first, *rest = steps
    if first.endswith("*") and not rest:
        return [value for name, value in document.items() if name.startswith(first[:-1])]
    return _values(document[first], rest) if first in document else []


def _is_stale(need: Need, control: Control, newest: tuple[int, Event], history: History) -> bool:
    now, made = moment(history.at), moment(newest[1].time)
    if now is None or made is None:
        return True  # evidence whose age nobody can tell
    if control.days is not None and made < now - timedelta(days=min(control.days, 36_500)):
        return True
    if not need.until:
        return False
    ends = (end for d in _places(need, newest[1], history) for end in map(moment, _values(d, need.until.split("/"))))
    return not any(end is not None and now < end for end in ends)


def _cite(index: int, event: Event, history: History) -> Cited:
    named = (digest for name in DOCUMENT_REFS for digest in _digests(event.refs.get(name)))
    return Cited(index, event.type, event.time, tuple(d for d in named if history.read(d) is not None))


def _digests(value: Any) -> list[str]:
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str)]


# -- what people attach, and what speaks against a row ----------------------------------------------------------------


def _attached(framework: Framework, control: Control, history: History) -> Iterator[Attached]:
    now = moment(history.at)
    for index, event in history.oldest("document.attached"):
        data = event.data
        if (data["framework"], data["control"]) != (framework.name, control.id):
            continue
        document = next(iter(_digests(event.refs.get("document"))), None)
        expires = data.get("expires")
        end = moment(expires)
        current = expires is None or (end is not None and now is not None and now < end)
        said = (str(data["title"]), str(data["statement"]))
        yield Attached(index, event.time, event.actor, *said, document, expires and str(expires), current)


def _against(control: Control, history: History, attached: Sequence[Attached]) -> Iterator[Against]:
    types = {event for need in control.needs for event in need.events}
    for index, reason in history.violations[-SEARCHED:]:
        if (event := history.event(index)) is not None and event.type in types:
            yield Against(index, f"Entry {index} broke a rule and has no effect: {reason}.")
    for counter in control.counter:
        for found in _COUNTERS[counter](history):
            answered = counter == "alarm-unanswered" and any(item.index > found.index for item in attached)
            if not answered:
                yield found


def _failed_trial(history: History) -> Iterator[Against]:
    for kind in ("gates.self_tested", "gates.drilled"):
        for index, event in islice(history.newest(kind), 1):
            if event.data["refused"] != event.data["of"]:
                yield Against(index, f"Entry {index}: {COUNTERS['self-test-failed']}.")


def _unanswered_alarms(history: History) -> Iterator[Against]:
    serving, begun = _serving(history), dict[str, int]()
    for index, event in history.newest("run.started"):
        begun.setdefault(event.data["model"], index)
    for index, event in history.oldest("alarm.raised"):
        model = event.data["model"]
        since = serving.get((model, event.data["number"]))
        if since is not None and since < index and begun.get(model, -1) < index:
            yield Against(index, f"Entry {index}: {COUNTERS['alarm-unanswered']}.")


def _lapsed_waivers(history: History) -> Iterator[Against]:
    if not history.kinds.get("waiver.granted"):
        return
    now, serving, seen = moment(history.at), _serving(history), set[tuple[str, str]]()
    answering = {
        event.refs["model"]
        for _, event in history.newest("release.proposed")
        if (event.data["model"], event.data["number"]) in serving
    }
    for index, event in history.newest("waiver.granted"):
        about, end = (event.refs["model"], event.data["rule"]), moment(event.data["expires"])
        if about not in seen and about[0] in answering and (end is None or now is None or now >= end):
            yield Against(index, f"Entry {index}: {COUNTERS['waiver-lapsed']}.")
        seen.add(about)


_COUNTERS: Mapping[str, Callable[[History], Iterator[Against]]] = {
    "self-test-failed": _failed_trial,
    "alarm-unanswered": _unanswered_alarms,
    "waiver-lapsed": _lapsed_waivers,
}


def _serving(history: History) -> dict[tuple[str, int], int]:
    """The releases in traffic at the end, by model and number, with the position of the entry that put them there."""
    live: dict[str, tuple[int, int]] = {}
    canary: dict[str, tuple[int, int]] = {}
    for index, event in history.oldest("traffic.shifted", "release.rolled_back"):
        model, number = event.data["model"], event.data["number"]
        if event.type == "traffic.shifted" and float(event.data["share"]) < 1:
            canary[model] = (number, index)
        elif event.type == "traffic.shifted":
            live[model] = (number, index)
            canary.pop(model, None)
        elif canary.get(model, (None,))[0] == number:
            canary.pop(model)
        else:
            live[model] = (event.data["to"], index)
    return {(model, number): index for part in (live, canary) for model, (number, index) in part.items()}
