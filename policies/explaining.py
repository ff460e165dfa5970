"""What a policy says, in plain words: what a pass of each rule proves, how often it is wrong, the rows it takes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pruneguard.evidence import Estimate
from pruneguard.gates import GATES, MEASUREMENTS
from pruneguard.gates.catalogue import package
from pruneguard.policy import Policy, Rule, Step, Subject
from pruneguard.statistics import rows_needed

DISCORDANCES = (0.02, 0.05, 0.1)
"""Shares of rows on which exactly one of the two is right, for which the rows that are needed are told."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One rule: what it `judges`, what a pass `proves`, how often it `errs`, and the `rows` that it takes."""

    name: str
    judges: str
    proves: str
    errs: str
    rows: str
    because: str

    def to_document(self) -> dict[str, str]:
        return {
            "name": self.name,
            "judges": self.judges,
            "proves": self.proves,
            "errs": self.errs,
            "rows": self.rows,
            "because": self.because,
        }


def explained(rule: Rule) -> Explanation:
    """A rule that a loader has checked, in words."""
    scale = MEASUREMENTS[rule.measurement]
    whom = "pruned models only" if rule.subject is Subject.PRUNED else "pruned models and the dense twin"
    proves, errs, rows = _WORDS.get(rule.gate, _foreign)(rule)
    return Explanation(rule.name, f"{rule.measurement}, {scale.doc}; {whom}", proves, errs, rows, rule.because)


def terms(policy: Policy) -> list[str]:
    """What a policy says beside its rules."""
    people = "one person" if policy.approvals_min == 1 else f"{policy.approvals_min} people"
    clicks = "a click that the service attests counts" if policy.server_attested else "with a signature of their own"
    waiver = (
        f"A failed rule can be taken on for 90 days at most; when that lapses: {policy.on_lapse}"
        if policy.waivers
        else "Nobody can take on a failed rule"
    )
    return [
        policy.purpose,
        f"A release is approved by {people}, {clicks}.",
        f"It first answers {', then '.join(map(_step, policy.canary.steps))}, and then all of them. It is stopped when "
        f"it is shown to fail or be wrong more often than the live version by {_points(policy.canary.worse_max)}, or "
        f"to be slow by {_points(policy.canary.slower_max)}; {_percent(policy.canary.alpha)} at most of those that are "
        "not.",
        f"The twin answers {_percent(policy.monitoring.twin_share)} of the requests as well. A loss of "
        f"{_points(policy.monitoring.tolerance)} beyond the certified one is called decay, and of healthy releases "
        f"{_percent(policy.monitoring.alpha)} at most; then: {policy.on_decay}.",
        f"{waiver}.",
        *(
            [f"What was measured more than {policy.evidence_days_max} days before it is judged does not count."]
            if policy.evidence_days_max is not None
            else []
        ),
    ]


def _step(step: Step) -> str:
    long = f" and {step.seconds_min:,} s" if step.seconds_min else ""
    return f"{_percent(step.share)} of the requests, for {step.requests_min:,}{long} at least"


def gates() -> list[dict[str, Any]]:
    """Every gate that a policy can name, of other packages too."""
    return [
        {
            "gate": gate.name,
            "doc": gate.doc,
            "judges": "a number" if gate.judges is Estimate else "a paired table",
            "parameters": [
                {"name": p.name, "doc": p.doc, "expected": p.range, "default": p.default} for p in gate.parameters
            ],
        }
        for gate in GATES.values()
    ]


def measurements() -> list[dict[str, Any]]:
    """Every measurement that a policy can name, of other packages too."""
    return [
        {
            "measurement": name,
            "doc": scale.doc,
            "is": f"{scale.low:g} to {scale.high:g}" if scale.kind is Estimate else "paired table",
        }
        for name, scale in MEASUREMENTS.items()
    ]


def rows_for(rule: Rule, *, discordance: float) -> int:
    """Rows with which a model as good as its twin passes a `non_inferior` rule nine times in ten."""
    return rows_needed(discordance=discordance, margin=rule.parameters["margin"], alpha=rule.parameters["alpha"])


def _value(rule: Rule) -> tuple[str, str, str]:
    limit = rule.parameters["limit"]
    side = "or less" if rule.gate == "at_most" else "or more"
    return (
        f"On the rows that were measured it is {limit:g} {side}.",
        "None is stated. What is counted is exact; of what is estimated, a model that truly stands at the limit passes "
        "about every second time.",
        "Any; more make an estimate steadier.",
    )


def _sure(rule: Rule) -> tuple[str, str, str]:
    limit = rule.parameters["limit"]
    side, end = ("or less", "upper") if rule.gate == "at_most_surely" else ("or more", "lower")
    return (
        f"It is {limit:g} {side} on all such rows, as far as its interval can be believed.",
        f"A model that truly stands at the limit passes when the {end} end of its interval errs: at most 2.5 times in "
        "100 for an interval of 95 %.",
        f"As many as bring the {end} end of the interval to the limit; until then it is underpowered, and the finding "
        "says by how much.",
    )


def _non_inferior(rule: Rule) -> tuple[str, str, str]:
    margin, alpha = rule.parameters["margin"], rule.parameters["alpha"]
    told = ", ".join(f"{rows_for(rule, discordance=d):,} at {100 * d:g} %" for d in DISCORDANCES)
    return (
        f"It is less than {_points(margin)} less accurate than its twin, at {100 * (1 - alpha):.4g} % confidence.",
        f"A model that is truly {_points(margin)} worse passes about {100 * alpha:.4g} times in 100.",
        f"For a model as good as its twin to pass nine times in ten, by the share of discordant rows: {told}. "
        f"Never fewer than {rows_for(rule, discordance=0.0):,}.",
    )


def _slices(rule: Rule) -> tuple[str, str, str]:
    margin, alpha, rows_min = (rule.parameters[name] for name in ("margin", "alpha", "rows_min"))
    return (
        f"No slice was shown to be more than {_points(margin)} worse. That is less than each being as good: a finding "
        "says how many lost rows it would have seen.",
        f"A model of which no slice is worse than that fails at most about {100 * alpha:.4g} times in 100, over all "
        "slices at once (Holm). One with a worse slice of few rows may pass.",
        f"{rows_min:g} in a slice; smaller ones are listed as not testable, and where all are there is no evidence.",
    )


def _foreign(rule: Rule) -> tuple[str, str, str]:
    gate = GATES[rule.gate]
    numbers = ", ".join(f"{p.name} {rule.parameters[p.name]:g} ({p.doc})" for p in gate.parameters)
    author = f"The package {package(rule.gate)!r} answers for that."
    return f"{gate.doc} {numbers}".strip(), author, author


_WORDS: Mapping[str, Callable[[Rule], tuple[str, str, str]]] = MappingProxyType(
    {
        "at_most": _value,
        "at_least": _value,
        "at_most_surely": _sure,
        "at_least_surely": _sure,
        "non_inferior": _non_inferior,
        "slices_non_inferior": _slices,
    }
)


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def _points(share: float) -> str:
    """As people say it.

    >>> _points(0.01), _points(0.005)
    ('1 point', '0.5 points')
    """
    return f"{100 * share:.4g} point" + ("" if share == 0.01 else "s")
