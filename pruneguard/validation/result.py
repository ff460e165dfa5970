"""What a validation found, as the value that every report is made from. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pruneguard.evidence import Evidence, Measurement
from pruneguard.policy import Policy, Rule
from pruneguard.verdict import Finding, Outcome, Verdict

ORDER = (Outcome.FAILED, Outcome.UNDERPOWERED, Outcome.NO_EVIDENCE, Outcome.WAIVED, Outcome.PASSED)
"""What a reader looks for first."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file that took part, as it was named: `role` is model, twin, data or policy."""

    role: str
    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Validation:
    """A verdict with all that it rests on.

    `policy` is what was judged by, without the rules `left_out`. `absent` says of rules without evidence why there is
    none, where that is known.
    """

    policy: Policy
    left_out: tuple[Rule, ...]
    verdict: Verdict
    evidence: tuple[Evidence, ...]
    absent: Mapping[str, str]
    sources: tuple[Source, ...]

    @property
    def passed(self) -> bool:
        return self.verdict.passed

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every rule's, what refuses first; one without evidence says why there is none."""
        told = (
            replace(finding, observed=f"{finding.observed}: {self.absent[finding.rule]}")
            if finding.outcome is Outcome.NO_EVIDENCE and finding.rule in self.absent
            else finding
            for finding in self.verdict.findings
        )
        return tuple(sorted(told, key=lambda finding: ORDER.index(finding.outcome)))

    @property
    def measured(self) -> dict[str, Measurement]:
        return {name: value for each in self.evidence for name, value in each.measurements.items()}

    @property
    def context(self) -> dict[str, str]:
        """How it was measured."""
        return {name: text for each in self.evidence for name, text in each.context.items()}

    @property
    def headline(self) -> str:
        """The verdict in a line."""
        rules, against = len(self.verdict.findings), len(self.verdict.objections)
        policy = f"{self.policy.name} {self.policy.version}"
        without = f"; {len(self.left_out)} more left out" if self.left_out else ""
        if self.passed:
            return f"passed: all {rules} rules of policy {policy}{without}"
        return f"refused: {against} of {rules} rules of policy {policy} do not pass{without}"

    @property
    def advice(self) -> str:
        """How to judge without the rules that nothing was measured for; empty where there are none."""
        rules = [finding.rule for finding in self.findings if finding.outcome is Outcome.NO_EVIDENCE]
        flags = " ".join(f"--leave-out {rule}" for rule in rules)
        ways = f"Where a rule cannot matter here, leave it out by name: {flags}"
        return f"No evidence is never a pass. {ways}" if rules else ""

    def name(self, role: str) -> str:
        """The file in this role, as it was named; empty where there is none."""
        return next((source.name for source in self.sources if source.role == role), "")

    def rule(self, name: str) -> Rule:
        return next(rule for rule in self.policy.rules if rule.name == name)

    def to_document(self) -> dict[str, Any]:
        return {
            "kind": "validation/v1",
            "passed": self.passed,
            "headline": self.headline,
            "sources": {source.role: {"name": source.name, "digest": source.digest} for source in self.sources},
            "findings": [finding.to_document() for finding in self.findings],
            "left_out": [rule.name for rule in self.left_out],
            "policy": self.policy.to_document(),
            "verdict": self.verdict.to_document(),
            "evidence": [each.to_document() for each in self.evidence],
        }
