"""From what the ledger holds to what a framework asks for: which events evidence which NIST AI RMF subcategory.

An index for an auditor, neither a score nor a certification. What the service cannot evidence is listed as such, and
a subcategory without an event stays without one.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pruneguard.errors import IntegrityError
from pruneguard.ledger.events import Entry

_FRAMEWORKS = Path(__file__).parent / "frameworks"

# Subcategory -> types of our events that evidence it. One that is absent here is evidenced by none: where the map
# asks for an intended use, a training record, a waiver or an energy report, we record no such thing.
EVENTS: Mapping[str, tuple[str, ...]] = {
    "GOVERN 1.2": ("policy.adopted",),
    "GOVERN 1.4": ("policy.adopted", "verdict.given"),
    "GOVERN 1.6": ("model.trained", "model.pruned", "release.proposed", "traffic.shifted", "release.rolled_back"),
    "GOVERN 2.1": ("key.registered",),
    "GOVERN 3.2": ("key.registered",),
    "GOVERN 4.3": ("verdict.given", "alarm.raised"),
    "GOVERN 6.2": ("release.rolled_back",),
    "MAP 1.5": ("policy.adopted",),
    "MAP 2.1": ("run.started", "model.pruned"),
    "MAP 2.2": ("verdict.given",),
    "MAP 2.3": ("data.admitted",),
    "MAP 3.1": ("verdict.given",),
    "MAP 3.2": ("verdict.given",),
    "MAP 3.5": ("release.approved", "release.rolled_back"),
    "MEASURE 1.1": ("policy.adopted",),
    "MEASURE 1.3": ("release.approved",),
    "MEASURE 2.1": ("data.admitted", "verdict.given"),
    "MEASURE 2.3": ("traffic.shifted", "batch.sealed"),
    "MEASURE 2.4": ("batch.sealed", "drift.reported", "alarm.raised"),
    "MEASURE 2.5": ("verdict.given",),
    "MEASURE 2.6": ("verdict.given",),
    "MEASURE 2.7": ("verdict.given",),
    "MEASURE 2.11": ("verdict.given",),
    "MEASURE 3.1": ("drift.reported", "alarm.raised"),
    "MEASURE 3.2": ("alarm.raised",),
    "MEASURE 4.3": ("verdict.given", "alarm.raised"),
    "MANAGE 1.1": ("verdict.given", "release.proposed", "release.approved"),
    "MANAGE 2.2": ("run.started", "run.finished"),
    "MANAGE 2.3": ("alarm.raised", "release.rolled_back"),
    "MANAGE 2.4": ("release.rolled_back",),
    "MANAGE 3.2": ("model.pruned",),
    "MANAGE 4.1": ("policy.adopted", "drift.reported"),
}


class Automation(StrEnum):
    """How much of a subcategory a service can evidence by itself."""

    SYSTEM = "A"  # from events alone
    SHARED = "S"  # events, and a statement by a person
    HUMAN = "M"  # a human process; only a document attached by a person


@dataclass(frozen=True, slots=True)
class Control:
    """One subcategory and the entries of a ledger that evidence it.

    `wanted` is what the map of the framework asks for in its own words, `events` the types of ours that correspond,
    `entries` the positions at which they stand in the ledger.
    """

    id: str
    text: str
    automation: Automation
    wanted: str
    events: tuple[str, ...]
    entries: tuple[int, ...]

    @property
    def status(self) -> str:
        """What can be said, in words: never more than the entries carry."""
        if self.automation is Automation.HUMAN:
            return "a person attaches a document"
        if not self.events:
            return "no event of this service evidences it"
        if not self.entries:
            return "no evidence yet"
        statement = "; a person states the rest" if self.automation is Automation.SHARED else ""
        return f"{len(self.entries)} event{'' if len(self.entries) == 1 else 's'}{statement}"


def crosswalk(entries: Iterable[tuple[int, Entry]]) -> tuple[Control, ...]:
    """All 72 subcategories of the NIST AI RMF, in its order, with the positions of the entries that evidence each.

    `entries` are pairs of position and entry. Those that the fold called violations are the caller's to leave out:
    what broke a rule evidences nothing.
    """
    positions: dict[str, list[int]] = {}
    for index, entry in entries:
        positions.setdefault(entry.event.type, []).append(index)
    core, hints = _load("nist_ai_rmf_core.json"), _load("nist_ai_rmf_evidence_map.json")["map"]
    return tuple(_control(item["id"], item["text"], hints[item["id"]], positions) for item in core["subcategories"])


def _control(name: str, text: str, hint: Mapping[str, str], positions: Mapping[str, list[int]]) -> Control:
    events = EVENTS.get(name, ())
    found = sorted(index for event in events for index in positions.get(event, ()))
    return Control(name, text, Automation(hint["class"]), hint["evidence"], events, tuple(found))


def _load(name: str) -> Any:
    try:
        return json.loads((_FRAMEWORKS / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise IntegrityError(
            f"{_FRAMEWORKS / name} is damaged or gone: {error}; restore it from the release"
        ) from error
