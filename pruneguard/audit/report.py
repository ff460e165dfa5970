"""The outcome of a verification, as values: what was checked, what was found, and what it guarantees."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """What a check is about, in the order in which a verifier can rely on them."""

    FILES = "files"  # the archive holds what its manifest says, and nothing else
    SIGNATURES = "signatures"  # the log signed its checkpoint, people their acts
    TREE = "tree"  # the entries are those of the checkpoint
    ANCHORING = "anchoring"  # the log continues the one that the auditor saw before
    SEMANTICS = "semantics"  # nobody did what they may not; every verdict follows from its evidence
    ARTEFACTS = "artefacts"  # documents are those that the events name


EXIT_CODES = {level: 10 + position for position, level in enumerate(Level)}
"""Exit code by the first level that fails: files 10 ... artefacts 15. All is well: 0."""


@dataclass(frozen=True, slots=True)
class Check:
    """One step's outcome, or one of its failures: `place` names file, entry or byte, `detail` the rule."""

    level: Level
    what: str
    ok: bool
    place: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether something was checked and nothing failed."""
        return bool(self.checks) and all(check.ok for check in self.checks)

    @property
    def exit_code(self) -> int:
        failed = {check.level for check in self.checks if not check.ok}
        if not failed:
            return 0 if self.checks else EXIT_CODES[Level.FILES]
        return min(EXIT_CODES[level] for level in failed)

    @property
    def guarantee(self) -> str:
        """How far the log can be trusted not to have been rewritten as a whole by whoever holds its key."""
        if not self.ok:
            return "none"
        return "held" if any(check.level is Level.ANCHORING for check in self.checks) else "self-signed only"

    def to_document(self) -> dict[str, Any]:
        return {
            "kind": "audit-report/v1",
            "ok": self.ok,
            "exit_code": self.exit_code,
            "guarantee": self.guarantee,
            "checks": [asdict(check) for check in self.checks],
        }
