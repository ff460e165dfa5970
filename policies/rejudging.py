"""What a policy would have decided: every verdict in the ledger, given again from the evidence that it rests on."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, TypeAlias

from pruneguard.errors import UnavailableError
from pruneguard.evidence import Evidence
from pruneguard.gates import judge
from pruneguard.ledger.state import GivenVerdict, Model
from pruneguard.policy import Policy
from pruneguard.verdict import Outcome

ReadDocument: TypeAlias = Callable[[str], bytes]
"""Digest -> the document's bytes; raises UnavailableError where they are gone."""


class Fate(StrEnum):
    PASSES = "passes"
    FAILS = "fails"
    OPEN = "cannot be told"  # all that was measured passes, and something was not measured


@dataclass(frozen=True, slots=True)
class Retrial:
    """One verdict and what the policy makes of its evidence: each rule's outcome, or why there is none."""

    model: str
    given: GivenVerdict
    fate: Fate
    outcomes: Mapping[str, Outcome]
    gone: str = ""

    @property
    def changed(self) -> bool:
        """Whether the decision is another one; what cannot be told is no change."""
        return self.fate is (Fate.FAILS if self.given.passed else Fate.PASSES)

    @property
    def refused_by(self) -> tuple[str, ...]:
        good = (Outcome.PASSED, Outcome.NO_EVIDENCE)
        return tuple(rule for rule, outcome in self.outcomes.items() if outcome not in good)

    @property
    def unmeasured(self) -> tuple[str, ...]:
        return tuple(rule for rule, outcome in self.outcomes.items() if outcome is Outcome.NO_EVIDENCE)

    def to_document(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "run": self.given.run,
            "split": self.given.split,
            "candidate": self.given.candidate,
            "verdict": self.given.digest,
            "policy": self.given.policy,
            "passed": self.given.passed,
            "objections": dict(self.given.objections),
            "fate": self.fate.value,
            "changed": self.changed,
            "outcomes": {rule: outcome.value for rule, outcome in self.outcomes.items()},
            "gone": self.gone,
        }


def retried(policy: Policy, models: Iterable[Model], read: ReadDocument) -> list[Retrial]:
    """Every verdict on these models under `policy`, in the order of the ledger.

    A waiver plays no part: what is compared is what the rules say, when the newest of the evidence was measured. A
    verdict whose evidence is gone is said to be so.
    """
    decoded = cache(lambda digest: Evidence.decode(read(digest)))  # a run's verdicts share the data's evidence
    return [_retrial(policy, model.name, given, decoded) for model in models for given in model.verdicts]


def without_evidence(policy: Policy, trials: Sequence[Retrial]) -> list[str]:
    """The rules of a policy that no past evidence can say anything about."""
    known = {rule for trial in trials for rule, outcome in trial.outcomes.items() if outcome is not Outcome.NO_EVIDENCE}
    return [rule.name for rule in policy.rules if rule.name not in known]


def _retrial(policy: Policy, model: str, given: GivenVerdict, decoded: Callable[[str], Evidence]) -> Retrial:
    try:
        evidence = [decoded(digest) for digest in given.evidence]
    except UnavailableError as error:
        return Retrial(model, given, Fate.OPEN, {}, str(error))
    at = max((e.measured_at for e in evidence if e.measured_at is not None), default=None)
    verdict = judge(policy, evidence, candidate=given.candidate, twin=given.twin, data=given.data, at=at)
    outcomes = {finding.rule: finding.outcome for finding in verdict.findings}
    trial = Retrial(model, given, Fate.PASSES if verdict.passed else Fate.FAILS, outcomes)
    return Retrial(model, given, Fate.OPEN, outcomes) if not verdict.passed and not trial.refused_by else trial
