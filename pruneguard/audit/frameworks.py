"""A control framework as data: its controls in its own order, and for each which entries of a ledger speak to it.

The files are handed in as bytes (the service ships some in `policies/frameworks`, a bundle carries those it was made
with), so one code path serves every framework, and whose reading of a framework it is stands in a file that anybody
can compare.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pruneguard import canonical
from pruneguard.errors import InvalidInputError

COUNTERS: Mapping[str, str] = {
    "self-test-failed": "the newest trial of the gates let bad evidence pass",
    "alarm-unanswered": "an alarm about a version that still answers, and nothing followed: no rollback, no newer "
    "version, no new run, no signed statement about this row",
    "waiver-lapsed": "a version still answers that rests on a waiver whose time is over",
}
"""Counter-evidence that a control may name. One more counts for every control: an entry of a type that it rests on
broke a rule, so it stands in the log without effect."""


class Automation(StrEnum):
    """How much of a control a service can evidence by itself."""

    SYSTEM = "A"  # from entries alone
    SHARED = "S"  # entries, and a statement by a person
    HUMAN = "M"  # a human process: only what a person attaches


@dataclass(frozen=True, slots=True)
class Need:
    """One kind of entry that a control rests on; any of `events` will do.

    With `has`, the entry must hold something under that path (steps split by `/`; a last step that ends in `*` is the
    beginning of a name), in its own data, or in a document that its reference `inside` names. `equals` and `differs`
    compare what is found. `until` is the path of a date, in the same place, at which this evidence expires.
    """

    events: tuple[str, ...]
    inside: str | None = None
    has: str = ""
    equals: Any = None
    differs: Any = None
    until: str = ""

    @classmethod
    def of(cls, document: str | Mapping[str, Any]) -> "Need":
        given = {"event": document} if isinstance(document, str) else dict(document)
        need = cls(
            tuple(given.pop("event").split("|")),
            given.pop("in", None),
            given.pop("has", ""),
            given.pop("is", None),
            given.pop("not", None),
            given.pop("until", ""),
        )
        if given or not all(isinstance(text, str) for text in (need.has, need.until, need.inside or "")):
            raise InvalidInputError(f"a control's need with {sorted(given)} or a path that is no text")
        return need

    @property
    def words(self) -> str:
        """What is needed, for people.

        >>> Need(("verdict.given",), "evidence", "measurements/robustness.*").words
        'verdict.given with measurements/robustness.* in its evidence'
        """
        text = " or ".join(self.events)
        if self.has:
            text += f" with {self.has}" + (f" in its {self.inside}" if self.inside else "")
        if self.equals is not None:
            text += f" = {self.equals}"
        return text + (f" other than {self.differs}" if self.differs is not None else "")


@dataclass(frozen=True, slots=True)
class Group:
    id: str
    text: str
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class Control:
    """One row of a framework.

    `wanted` is what the evidence should be; `shows` what the entries of this service do show, no more; `days` the age
    at which recurring evidence is stale; `counter` names in COUNTERS what speaks against it.
    """

    id: str
    group: str
    automation: Automation
    wanted: str
    title: str = ""
    text: str = ""
    shows: str = ""
    needs: tuple[Need, ...] = ()
    days: int | None = None
    counter: tuple[str, ...] = ()

    @property
    def asks(self) -> str:
        """The framework's own text where it may be repeated, else a title in our words."""
        return self.text or self.title


@dataclass(frozen=True, slots=True)
class Milestone:
    date: str
    what: str
    source: str


@dataclass(frozen=True, slots=True)
class Framework:
    name: str
    title: str
    source: str
    url: str
    note: str
    dates: tuple[Milestone, ...]
    groups: tuple[Group, ...]
    controls: tuple[Control, ...]
    digest: str
    """Of the file: what to compare with the one that was published."""

    @classmethod
    def decode(cls, content: bytes) -> "Framework":
        """Raises InvalidInputError naming what is wrong in the file."""
        with canonical.opened(content, "framework/v1") as document:
            framework = cls(
                **{name: _text(document, name) for name in ("name", "title", "source", "url", "note")},
                dates=tuple(Milestone(**_texts(milestone)) for milestone in document["dates"]),
                groups=tuple(Group(**_texts(group)) for group in document["groups"]),
                controls=tuple(_control(control) for control in document["controls"]),
                digest=canonical.digest(content),
            )
        framework._require_consistent()
        return framework

    def control(self, name: str) -> Control:
        """A control by its id, however it is spelt in case. Raises InvalidInputError naming those that exist."""
        for control in self.controls:
            if control.id.casefold() == name.strip().casefold():
                return control
        known = ", ".join(control.id for control in self.controls)
        raise InvalidInputError(f"{self.name} has no control {name!r}; its controls are {known}")

    def function(self, control: Control) -> Group:
        """The outermost group that a control stands in."""
        groups = {group.id: group for group in self.groups}
        group = groups[control.group]
        while group.parent is not None:
            group = groups[group.parent]
        return group

    def _require_consistent(self) -> None:
        seen: set[str] = set()
        for group in self.groups:  # a parent stands before its children, so no group can contain itself
            if group.parent is not None and group.parent not in seen:
                raise InvalidInputError(f"{self.name}: group {group.id!r} stands before its parent {group.parent!r}")
            seen.add(group.id)
        if stray := [control.id for control in self.controls if control.group not in seen]:
            raise InvalidInputError(f"{self.name}: {stray} are in no group")
        if len({control.id for control in self.controls}) != len(self.controls) or len(seen) != len(self.groups):
            raise InvalidInputError(f"{self.name}: two controls or groups have one id")
        if unknown := sorted({name for control in self.controls for name in control.counter} - COUNTERS.keys()):
            raise InvalidInputError(f"{self.name}: unknown counter-evidence {unknown}; known is {sorted(COUNTERS)}")


def _control(document: Mapping[str, Any]) -> Control:
    given = dict(document)
    days = given.pop("days", None)
    if days is not None and type(days) is not int:
        raise InvalidInputError(f"{document['id']!r}: days is {days!r}; expected a whole number")
    return Control(
        automation=Automation(given.pop("class")),
        needs=tuple(Need.of(need) for need in given.pop("needs", ())),
        days=days,
        counter=tuple(given.pop("counter", ())),
        **_texts(given),
    )


def _texts(document: Mapping[str, Any]) -> dict[str, str]:
    return {name: _text(document, name) for name in document}


def _text(document: Mapping[str, Any], name: str) -> str:
    if not isinstance(value := document[name], str):
        raise InvalidInputError(f"{name} is {value!r}; expected a text")
    return value
