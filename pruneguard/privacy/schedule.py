"""How long which records are kept, as a value. The document that people write is read by `policies.retention`."""

from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from pruneguard.canonical import Document
from pruneguard.ledger.keeping import TELEMETRY_DAYS_MIN


class RecordClass(StrEnum):
    """The classes of `pruneguard.ledger.events`: what monitors observed, and everything else."""

    TELEMETRY = "telemetry"
    DECISIONS = "decisions"


DROPPED = frozenset({RecordClass.TELEMETRY})
"""Classes whose bodies go when their period ends. State is a fold of the others, so without them nothing could be
checked again: they stay for as long as the ledger does, whatever period they were promised."""


@dataclass(frozen=True, slots=True)
class Floor:
    """The fewest months that a class may be kept, and who says so."""

    months: int
    source: str


FLOORS: Mapping[RecordClass, Floor] = MappingProxyType(
    {
        RecordClass.TELEMETRY: Floor(6, "Regulation (EU) 2024/1689, Articles 19 and 26(6)"),
        RecordClass.DECISIONS: Floor(120, "Regulation (EU) 2024/1689, Article 18"),
    }
)


@dataclass(frozen=True, slots=True)
class Period:
    months: int
    because: str


@dataclass(frozen=True, slots=True)
class Schedule(Document):
    """A period for every class."""

    name: str
    version: int
    purpose: str
    periods: Mapping[RecordClass, Period]

    def before(self, record_class: RecordClass, as_of: datetime) -> datetime:
        """What happened earlier is past its period on that day. Half a year is 181 days at times; the ledger's rules
        never drop what is younger than theirs.
        """
        return min(months_before(as_of, self.periods[record_class].months), as_of - timedelta(days=TELEMETRY_DAYS_MIN))

    def to_document(self) -> dict[str, Any]:
        return {
            "kind": "retention-schedule/v1",
            "name": self.name,
            "version": self.version,
            "purpose": self.purpose,
            "periods": {
                record_class.value: {"months": period.months, "because": period.because}
                for record_class, period in self.periods.items()
            },
        }


def months_before(moment: datetime, months: int) -> datetime:
    """The same day so many months earlier, or the last day of that month where it is shorter.

    >>> months_before(datetime(2026, 3, 31), 1).date().isoformat()
    '2026-02-28'
    """
    year, month = divmod(moment.year * 12 + moment.month - 1 - months, 12)
    return moment.replace(year=year, month=month + 1, day=min(moment.day, monthrange(year, month + 1)[1]))
