"""One rule, one measurement, one finding: what every test of a gate needs."""

from collections.abc import Mapping

from pruneguard.evidence import Evidence, Measurement
from pruneguard.gates import judge
from pruneguard.policy import Policy, Rule, Subject
from pruneguard.verdict import Finding

CANDIDATE, TWIN, DATA = ("sha256:" + letter * 64 for letter in "cad")


def rule(gate: str, measurement: str, *, subject: Subject = Subject.ANY, **parameters: float) -> Rule:
    return Rule(f"{measurement} {gate}", gate, measurement, parameters, "because", "the remedy", subject)


def policy(*rules: Rule) -> Policy:
    return Policy("test", 1, "testing", rules)


def evidence(measurements: Mapping[str, Measurement]) -> Evidence:
    return Evidence(CANDIDATE, TWIN, DATA, measurements)


def finding(gate: str, name: str, measurements: Mapping[str, Measurement], **parameters: float) -> Finding:
    """What the gate finds about `name` in these measurements of the candidate."""
    given = policy(rule(gate, name, **parameters))
    (found,) = judge(given, [evidence(measurements)], candidate=CANDIDATE, twin=TWIN, data=DATA).findings
    return found
