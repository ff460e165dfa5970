"""A policy as a value: what must be proven, who must agree, how a release proceeds, what an alarm causes.

People write policies as YAML (`policies/documents`); what is adopted, recorded by digest and re-decided offline is
this value in canonical JSON.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pruneguard import canonical


class Action(StrEnum):
    """What follows from an alarm, or from a waiver that lapses on what takes traffic."""

    ROLL_BACK = "roll back"
    NOTIFY = "notify"


class Subject(StrEnum):
    """Which models a rule is for: the dense twin is judged too, but cannot be faster than itself."""

    ANY = "any"
    PRUNED = "pruned"


@dataclass(frozen=True, slots=True)
class Rule:
    """One gate applied to one measurement. `parameters` are the gate's own (see `pruneguard.gates`)."""

    name: str
    gate: str
    measurement: str
    parameters: Mapping[str, float]
    because: str
    remedy: str
    subject: Subject = Subject.ANY


@dataclass(frozen=True, slots=True)
class Step:
    """A share of the traffic below 1, and the requests and seconds that a canary stands at it before it goes on."""

    share: float
    requests_min: int
    seconds_min: int = 0

    def to_document(self) -> dict[str, Any]:
        """As text where it is no whole number, so that a ledger can hold it."""
        return {"share": f"{self.share:g}", "requests_min": self.requests_min, "seconds_min": self.seconds_min}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Step":
        return cls(float(document["share"]), document["requests_min"], document["seconds_min"])


def next_share(steps: Sequence[Step], share: float) -> float:
    """What comes after a share of the traffic: the first step for 0, and 1 after the last.

    >>> [next_share([Step(0.05, 200), Step(0.25, 500)], share) for share in (0, 0.05, 0.25)]
    [0.05, 0.25, 1.0]
    """
    return next((step.share for step in steps if step.share > share), 1.0)


@dataclass(frozen=True, slots=True)
class Canary:
    """How a release comes to answer everything: by `steps` of growing shares, and when it is stopped on the way.

    A canary that fails, is slow or is wrong no more often than the live version is stopped with a chance of at most
    `alpha`, however long it is looked at. `worse_max` is how much more often (a share of its answers) it may fail or be
    wrong, `slower_max` how much more often it may take longer than the slowest twentieth of the live version's answers.
    """

    steps: tuple[Step, ...] = (Step(0.1, 200),)
    alpha: float = 0.01
    worse_max: float = 0.01
    slower_max: float = 0.1


@dataclass(frozen=True, slots=True)
class Monitoring:
    """What the twin monitor may spend and how often it may be wrong.

    `twin_share` of the requests are answered by the twin as well; `alpha` bounds the chance that a healthy release
    is ever called decayed; `tolerance` is the loss of accuracy, above the certified one, that is worth an alarm.
    """

    twin_share: float = 0.1
    alpha: float = 0.01
    tolerance: float = 0.01


@dataclass(frozen=True, slots=True)
class Policy(canonical.Document):
    name: str
    version: int
    purpose: str
    rules: tuple[Rule, ...]
    approvals_min: int = 1
    canary: Canary = Canary()
    monitoring: Monitoring = Monitoring()
    on_decay: Action = Action.ROLL_BACK
    server_attested: bool = True
    """Whether an approval counts that a service attests and no key has signed."""
    waivers: bool = True
    """Whether a person may take on a failed rule, for one candidate and a time."""
    on_lapse: Action = Action.NOTIFY
    """What follows when such a waiver lapses while the release takes traffic."""
    evidence_days_max: int | None = None
    """How old evidence may be when it is judged; what is older is none. None is any age."""

    @property
    def terms(self) -> dict[str, Any]:
        """What `policy.adopted` says of it, for the rules of the ledger to read."""
        return {
            "name": self.name,
            "version": self.version,
            "approvals_min": self.approvals_min,
            "server_attested": self.server_attested,
            "waivers": self.waivers,
            "on_decay": self.on_decay.value,
            "on_lapse": self.on_lapse.value,
            "steps": [step.to_document() for step in self.canary.steps],
        }

    def to_document(self) -> dict[str, Any]:
        return {
            "kind": "policy/v1",
            "name": self.name,
            "version": self.version,
            "purpose": self.purpose,
            "rules": [
                {
                    "name": rule.name,
                    "gate": rule.gate,
                    "measurement": rule.measurement,
                    "parameters": dict(rule.parameters),
                    "because": rule.because,
                    "remedy": rule.remedy,
                    "subject": rule.subject.value,
                }
                for rule in self.rules
            ],
            "approvals_min": self.approvals_min,
            "steps": [step.to_document() for step in self.canary.steps],
            "canary": {
                "alpha": self.canary.alpha,
                "worse_max": self.canary.worse_max,
                "slower_max": self.canary.slower_max,
            },
            "monitoring": {
                "twin_share": self.monitoring.twin_share,
                "alpha": self.monitoring.alpha,
                "tolerance": self.monitoring.tolerance,
            },
            "on_decay": self.on_decay.value,
            "server_attested": self.server_attested,
            "waivers": self.waivers,
            "on_lapse": self.on_lapse.value,
            "evidence_days_max": self.evidence_days_max,
        }

    @classmethod
    def decode(cls, content: bytes) -> "Policy":
        with canonical.opened(content, "policy/v1") as document:
            return cls(
                document["name"],
                document["version"],
                document["purpose"],
                tuple(Rule(**{**rule, "subject": Subject(rule["subject"])}) for rule in document["rules"]),
                document["approvals_min"],
                Canary(tuple(map(Step.of, document["steps"])), **document["canary"]),
                Monitoring(**document["monitoring"]),
                Action(document["on_decay"]),
                document["server_attested"],
                document["waivers"],
                Action(document["on_lapse"]),
                document["evidence_days_max"],
            )
