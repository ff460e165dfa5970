"""What was decided, as values that the registry, the ledger and the dashboard read without knowing any gate."""

from dataclasses import astuple, dataclass
from enum import StrEnum
from typing import Any

from pruneguard import canonical
from pruneguard.errors import InvalidInputError


class Outcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    UNDERPOWERED = "underpowered"  # the rows cannot decide it; never a pass
    NO_EVIDENCE = "no evidence"  # never a pass
    WAIVED = "waived"  # failed, and a person with a name took it on until a date


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule's outcome. `flip` names the number that would turn it; `remedy` what a person can do."""

    rule: str
    gate: str
    outcome: Outcome
    observed: str
    required: str
    flip: str
    remedy: str

    @property
    def allows(self) -> bool:
        return self.outcome in (Outcome.PASSED, Outcome.WAIVED)

    def to_document(self) -> dict[str, str]:
        return {
            "rule": self.rule,
            "gate": self.gate,
            "outcome": self.outcome.value,
            "observed": self.observed,
            "required": self.required,
            "flip": self.flip,
            "remedy": self.remedy,
        }


@dataclass(frozen=True, slots=True)
class Verdict(canonical.Document):
    """All findings of one policy for one candidate, with the digest of everything it rests on."""

    policy: str
    candidate: str
    twin: str
    data: str
    evidence: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """True when something was checked and all of it passed: an empty verdict is a no."""
        return bool(self.findings) and all(finding.allows for finding in self.findings)

    @property
    def objections(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if not finding.allows)

    @property
    def outline(self) -> dict[str, Any]:
        """What `verdict.given` says of it, for the rules of the ledger to read."""
        objections = {finding.rule: finding.outcome.value for finding in self.objections}
        return {"passed": self.passed, "rules": len(self.findings), "objections": objections}

    def to_document(self) -> dict[str, Any]:
        return {
            "kind": "verdict/v1",
            "policy": self.policy,
            "candidate": self.candidate,
            "twin": self.twin,
            "data": self.data,
            "evidence": list(self.evidence),
            "passed": self.passed,
            "findings": [finding.to_document() for finding in self.findings],
        }

    @classmethod
    def decode(cls, content: bytes) -> "Verdict":
        with canonical.opened(content, "verdict/v1") as document:
            findings = tuple(Finding(**{**f, "outcome": Outcome(f["outcome"])}) for f in document["findings"])
            texts = [text for finding in findings for text in astuple(finding)]
            texts += [*document["evidence"], *(document[name] for name in ("policy", "candidate", "twin", "data"))]
            if not all(isinstance(text, str) for text in texts):
                raise TypeError("a digest or a field of a finding is no text")
            verdict = cls(
                document["policy"],
                document["candidate"],
                document["twin"],
                document["data"],
                tuple(document["evidence"]),
                findings,
            )
        if document.get("passed") is not verdict.passed:
            raise InvalidInputError(f"the verdict says passed={document.get('passed')}, its findings say otherwise")
        return verdict
