"""A policy as a value: what must be proven, who must agree, how a release proceeds, what an alarm causes.

People write policies as YAML (`policies/documents`); what is adopted, recorded by digest and re-decided offline is
this value in canonical JSON.
"""

from collections.abc import Mapping
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
class Canary:
    """First step of a release: a share of the traffic, and the requests it must answer before it goes live."""

    share: float = 0.1
    requests_min: int = 200


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
            "canary": {"share": self.canary.share, "requests_min": self.canary.requests_min},
            "monitoring": {
                "twin_share": self.monitoring.twin_share,
                "alpha": self.monitoring.alpha,
                "tolerance": self.monitoring.tolerance,
            },
            "on_decay": self.on_decay.value,
            "server_attested": self.server_attested,
            "waivers": self.waivers,
            "on_lapse": self.on_lapse.value,
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
                Canary(**document["canary"]),
                Monitoring(**document["monitoring"]),
                Action(document["on_decay"]),
                document["server_attested"],
                document["waivers"],
                Action(document["on_lapse"]),
            )
