"""What became of a model's versions in a selection, put together out of entries and documents: what a page tells."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pruneguard.audit.selection import Selection
from pruneguard.errors import InvalidInputError
from pruneguard.evidence import Evidence, Measurement
from pruneguard.ledger.events import Event
from pruneguard.policy import Policy
from pruneguard.verdict import Verdict

Entries = list[tuple[int, Event]]
T = TypeVar("T")


@dataclass(slots=True)
class Course:
    """What became of one release: the entries about it; once read, the documents of its verdict that the bundle has."""

    number: int
    digest: str
    proposed: tuple[int, Event]
    approvals: Entries = field(default_factory=list)
    waivers: Entries = field(default_factory=list)
    alarms: Entries = field(default_factory=list)
    rollbacks: Entries = field(default_factory=list)
    verdict: Verdict | None = None
    policy: Policy | None = None
    measured: dict[str, Measurement] = field(default_factory=dict)

    @property
    def is_twin(self) -> bool:
        return self.verdict is not None and self.verdict.twin == self.digest


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` to `end`, a version answered this share of the requests; the entry at `index` says so."""

    number: int
    share: float
    start: str
    end: str | None
    """None while it still answers."""
    index: int


def courses(selection: Selection) -> list[Course]:
    """The selected releases, the newest first, without their documents: there may be thousands of them."""
    found: dict[int, Course] = {}
    same: dict[str, list[Course]] = {}
    for index, event in selection.events("release.proposed"):
        course = found[event.data["number"]] = Course(event.data["number"], event.refs["model"], (index, event))
        same.setdefault(course.digest, []).append(course)
    for kind, part in (
        ("release.approved", "approvals"),
        ("alarm.raised", "alarms"),
        ("release.rolled_back", "rollbacks"),
    ):
        for index, event in selection.events(kind):
            if (released := found.get(event.data["number"])) is not None:
                getattr(released, part).append((index, event))
    for index, event in selection.events("waiver.granted"):
        for course in same.get(event.refs["model"], ()):
            course.waivers.append((index, event))
    return sorted(found.values(), key=lambda course: -course.number)


def read(selection: Selection, course: Course) -> Course:
    """The same course, with the documents that its release rests on."""
    course.verdict = _decoded(selection, course.proposed[1].refs["verdict"], Verdict.decode)
    if course.verdict is None:
        return course
    course.policy = _decoded(selection, course.verdict.policy, Policy.decode)
    for name in course.verdict.evidence:
        evidence = _decoded(selection, name, Evidence.decode)
        if evidence is not None and evidence.subject == course.digest:
            course.measured.update(evidence.measurements)
    return course


def spans(selection: Selection, at: str) -> list[Span]:
    """What answered when, within the selection's span."""
    model = selection.state.models.get(selection.model)
    found: list[Span] = []
    shares: dict[int, tuple[float, str, int]] = {}
    for stretch in model.history if model is not None else ():
        if stretch.time > at:
            break
        if stretch.number in shares:
            share, since, index = shares.pop(stretch.number)
            found.append(Span(stretch.number, share, since, stretch.time, index))
        if stretch.share > 0:
            shares[stretch.number] = (stretch.share, stretch.time, stretch.index)
    found += [Span(number, share, since, None, index) for number, (share, since, index) in shares.items()]
    begin = selection.start or ""
    inside = (span for span in found if span.end is None or span.end > begin)
    return sorted(inside, key=lambda span: (span.start, span.number))


def _decoded(selection: Selection, digest: Any, decode: Callable[[bytes], T]) -> T | None:
    """A document, or None where the bundle lacks it or it is none of its kind."""
    content = selection.document(digest) if isinstance(digest, str) else None
    try:
        return None if content is None else decode(content)
    except InvalidInputError:
        return None
