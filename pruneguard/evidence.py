"""What was measured, as plain values. Evidence never judges."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pruneguard import canonical
from pruneguard.errors import InvalidInputError
from pruneguard.ledger.shapes import is_time


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval and the rows it was measured on. `unit` is "1" for a plain ratio."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0
    unit: str = "1"

    def to_document(self) -> dict[str, Any]:
        return {
            "kind": "estimate",
            "value": _finite(self.value),
            "low": _finite(self.low),
            "high": _finite(self.high),
            "n": self.n,
            "unit": self.unit,
        }


@dataclass(frozen=True, slots=True)
class PairedTable:
    """How often candidate and twin were right on the same rows: all that a paired test needs."""

    both_right: int
    candidate_only: int
    twin_only: int
    both_wrong: int

    @property
    def n(self) -> int:
        return self.both_right + self.candidate_only + self.twin_only + self.both_wrong

    @property
    def difference(self) -> float:
        """Candidate's accuracy minus the twin's; NaN without rows."""
        return (self.candidate_only - self.twin_only) / self.n if self.n else math.nan

    @property
    def discordance(self) -> float:
        """Share of rows that exactly one of the two got right; NaN without rows."""
        return (self.candidate_only + self.twin_only) / self.n if self.n else math.nan

    def to_document(self) -> dict[str, Any]:
        return {
            "kind": "paired",
            "both_right": self.both_right,
            "candidate_only": self.candidate_only,
            "twin_only": self.twin_only,
            "both_wrong": self.both_wrong,
        }


Measurement: TypeAlias = Estimate | PairedTable


@dataclass(frozen=True, slots=True)
class Evidence(canonical.Document):
    """Measurements about one subject: a candidate's artefact, or a data snapshot.

    Names are dotted, slices come last: `quality.paired`, `quality.paired.slice.class=3`. `context` says how it was
    measured (versions, split, seed); it is recorded, not judged. `measured_at` is when (as `ledger.events.utc` writes
    it), None where nobody said: a policy can refuse what is too old.
    """

    subject: str
    twin: str | None
    data: str
    measurements: Mapping[str, Measurement]
    context: Mapping[str, str] = field(default_factory=dict)
    measured_at: str | None = None

    def get(self, name: str) -> Measurement | None:
        return self.measurements.get(name)

    def to_document(self) -> dict[str, Any]:
        return {
            "kind": "evidence/v1",
            "subject": self.subject,
            "twin": self.twin,
            "data": self.data,
            "measurements": {name: m.to_document() for name, m in self.measurements.items()},
            "context": dict(self.context),
            "measured_at": self.measured_at,
        }

    @classmethod
    def decode(cls, content: bytes) -> "Evidence":
        with canonical.opened(content, "evidence/v1") as document:
            texts = [document["subject"], document["data"], *document["context"].values()]
            if not all(isinstance(text, str) for text in texts) or not isinstance(document["twin"], str | None):
                raise TypeError("a name, a digest or a word of the context is no text")
            if (measured_at := document["measured_at"]) is not None and not is_time(measured_at):
                raise TypeError(f"{measured_at!r:.40} is no time like 2026-01-02T03:04:05.000000Z")
            return cls(
                document["subject"],
                document["twin"],
                document["data"],
                {name: _measurement(m) for name, m in document["measurements"].items()},
                document["context"],
                measured_at,
            )


def _measurement(document: Mapping[str, Any]) -> Measurement:
    match document["kind"]:
        case "estimate":
            numbers = [document[name] for name in ("value", "low", "high")]
            if not all(number is None or type(number) in (int, float) for number in numbers):
                raise TypeError(f"{numbers} are no numbers")
            value = math.nan if document["value"] is None else float(document["value"])
            return Estimate(value, document["low"], document["high"], _count(document["n"]), document["unit"])
        case "paired":
            cells = (_count(document[name]) for name in ("both_right", "candidate_only", "twin_only", "both_wrong"))
            return PairedTable(*cells)
        case other:
            raise InvalidInputError(f"unknown measurement kind {other!r}; known are 'estimate' and 'paired'")


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"{value!r:.40} is no number of rows")
    return value


def _finite(value: float | None) -> float | None:
    """JSON has no NaN: what is not a number is recorded as missing, and missing never passes a gate."""
    return value if value is not None and math.isfinite(value) else None
