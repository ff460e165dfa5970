"""What a policy's gates made of real artefacts, as a document: bad ones must be refused, clean ones must pass.

The evidence is in it, so whoever reads it decides every verdict again without a network or a row. Pure.
"""

from dataclasses import dataclass, replace
from typing import Any

from pruneguard import canonical
from pruneguard.errors import InvalidInputError
from pruneguard.evidence import Evidence
from pruneguard.gates.assurance import ENOUGH
from pruneguard.gates.judging import judge
from pruneguard.policy import Policy

CLEAN_MIN = ENOUGH
"""Share of clean artefacts that has to pass: the power that a trial is planned with, and a search asks for."""

_NAMES = ("name", "fault", "aims_at", "candidate", "twin", "data", "refusal")

STOPPED = "stopped after"
"""In the context of evidence that was not measured to the end."""


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One artefact and what was measured of it. `fault` says what is wrong, and is None for a clean one.

    `aims_at` is the measurement, or the rule, that has to show the fault. `candidate`, `twin` and `data` are what the
    verdict is about, which need not be what the evidence is about. `refusal` is why nothing could be measured.
    """

    name: str
    fault: str | None
    aims_at: str
    candidate: str
    twin: str
    data: str
    evidence: tuple[Evidence, ...]
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Tried:
    """What the gates made of an exhibit: `by` are the rules that refused it, `seen` says that the right one did."""

    exhibit: Exhibit
    refused: bool
    by: tuple[str, ...]
    seen: bool

    def to_document(self) -> dict[str, Any]:
        exhibit = self.exhibit
        return {
            "name": exhibit.name,
            "fault": exhibit.fault,
            "aims_at": exhibit.aims_at,
            "candidate": exhibit.candidate,
            "twin": exhibit.twin,
            "data": exhibit.data,
            "refusal": exhibit.refusal,
            "refused": self.refused,
            "by": list(self.by),
            "evidence": [each.to_document() for each in sorted(exhibit.evidence, key=lambda each: each.digest)],
        }


@dataclass(frozen=True, slots=True)
class ArtefactTest(canonical.Document):
    """How a policy's gates did with exhibits that were made from `seed`."""

    policy: Policy
    seed: int
    exhibits: tuple[Exhibit, ...]

    @property
    def bad(self) -> tuple[Tried, ...]:
        return tuple(tried(self.policy, each) for each in self.exhibits if each.fault is not None)

    @property
    def clean(self) -> tuple[Tried, ...]:
        return tuple(tried(self.policy, each) for each in self.exhibits if each.fault is None)

    @property
    def passed(self) -> bool:
        """Every bad artefact was refused, and CLEAN_MIN of the clean ones were not; with none of either it is a no."""
        bad, clean = self.bad, self.clean
        let = sum(not each.refused for each in clean)
        return bool(bad) and bool(clean) and all(each.refused for each in bad) and let >= CLEAN_MIN * len(clean)

    @property
    def outline(self) -> dict[str, int]:
        """What an event says of it."""
        bad, clean = self.bad, self.clean
        return {
            "refused": sum(each.refused for each in bad),
            "of": len(bad),
            "clean_passed": sum(not each.refused for each in clean),
            "clean_of": len(clean),
        }

    def to_document(self) -> dict[str, Any]:
        return {
            "kind": "artefact-test/v1",
            "policy": self.policy.digest,
            "seed": self.seed,
            **self.outline,
            "passed": self.passed,
            "exhibits": [each.to_document() for each in (*self.bad, *self.clean)],
        }

    @classmethod
    def decode(cls, content: bytes, *, policy: Policy) -> "ArtefactTest":
        """The test out of its document, every verdict decided again.

        Raises InvalidInputError where the evidence does not lead to what the document says.
        """
        with canonical.opened(content, "artefact-test/v1") as document:
            exhibits = tuple(
                Exhibit(
                    **{name: told[name] for name in _NAMES},
                    evidence=tuple(Evidence.decode(canonical.encode(each)) for each in told["evidence"]),
                )
                for told in document["exhibits"]
            )
            test = cls(policy, document["seed"], exhibits)
        if test.encode() != content:
            raise InvalidInputError(
                f"the evidence in this artefact test does not lead, under policy {policy.digest}, to what it says; "
                "hold the test again"
            )
        return test


def tried(policy: Policy, exhibit: Exhibit) -> Tried:
    """Judge an exhibit. `by` leaves out rules about what was not measured only because evaluation had stopped."""
    fresh = replace(policy, evidence_days_max=None)  # what a drill measures is judged there and then
    verdict = judge(fresh, exhibit.evidence, candidate=exhibit.candidate, twin=exhibit.twin, data=exhibit.data)
    stopped = any(STOPPED in each.context for each in exhibit.evidence)
    measured = {name.partition(".slice.")[0] for each in exhibit.evidence for name in each.measurements}
    objecting = {finding.rule for finding in verdict.objections}
    by = [r for r in policy.rules if r.name in objecting and (r.measurement in measured or not stopped)]
    return Tried(
        exhibit,
        bool(exhibit.refusal) or not verdict.passed,
        tuple(rule.name for rule in by),
        any(exhibit.aims_at in (rule.name, rule.measurement) for rule in by),
    )
