"""The outcome of a verification, as values: what was checked, what was found, and what it guarantees."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """What a check is about, in the order in which a verifier can rely on them."""

    FILES = "files"  # the archive holds what its manifest says, and nothing else
    SIGNATURES = "signatures"  # the log signed checkpoint, manifest and attestations, people their acts
    TREE = "tree"  # the entries are those of the checkpoint
    ANCHORING = "anchoring"  # the log continues what the auditor saw before; witnesses saw it too
    SEMANTICS = "semantics"  # nobody did what they may not; every verdict follows from its evidence
    ARTEFACTS = "artefacts"  # documents are those that the events name; what is derived is what the log leads to
    COMPLETENESS = "completeness"  # nothing that the log leads to is left out


EXIT_CODES = {level: 10 + position for position, level in enumerate(Level)}
"""Exit code by the first level that fails: files 10 ... completeness 16. All is well: 0."""

NOTHING = "none"


@dataclass(frozen=True, slots=True)
class Check:
    """One step's outcome, or one of its failures: `place` names file, entry or byte, `detail` the rule.

    A step that holds may say in `detail` what an auditor should know about it.
    """

    level: Level
    what: str
    ok: bool
    place: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    checks: tuple[Check, ...]
    anchored: str = NOTHING
    """How far the log can be trusted not to have been rewritten as a whole, if every check holds."""
    remarks: tuple[str, ...] = ()
    """What an auditor may want to know: each witness, and what the guarantee lacks."""
    unchecked: tuple[str, ...] = ()
    """What this verification did not look at, in words."""
    absent: int = 0
    """Entries whose bodies were dropped by retention: their hashes are in the tree, their words are gone."""
    log: str = ""
    """The verifier key that the bundle names as its log's. A bundle made anew with another key verifies by itself."""

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
        return self.anchored if self.ok else NOTHING

    def to_document(self) -> dict[str, Any]:
        """As `audit verify --json` prints it.

        kind        audit-report/v1
        ok          whether every check holds
        exit_code   0, or that of the first level that fails
        guarantee   none, self-signed only, held, witnessed in the same trust domain, k of n independent
        checks      one object a step or failure: level, what, ok, place, detail
        remarks     sentences about witnesses and the guarantee
        unchecked   what was not looked at
        absent      entries whose bodies were dropped by retention
        log         the log's verifier key: compare it with the one you know
        """
        return {
            "kind": "audit-report/v1",
            "ok": self.ok,
            "exit_code": self.exit_code,
            "guarantee": self.guarantee,
            "checks": [asdict(check) for check in self.checks],
            "remarks": list(self.remarks),
            "unchecked": list(self.unchecked),
            "absent": self.absent,
            "log": self.log,
        }
