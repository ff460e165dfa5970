"""When a candidate's fate is sealed: no further measurement can make it pass, so none has to be paid for."""

from collections.abc import Mapping
from dataclasses import replace

from pruneguard.evidence import Evidence, Measurement
from pruneguard.gates.judging import judge
from pruneguard.policy import Policy, Rule, Subject

_CANDIDATE, _DATA, _TWIN = "candidate", "data", "twin"


def certain_failure(policy: Policy, measured: Mapping[str, Measurement], *, pruned: bool = True) -> str | None:
    """The policy's first rule whose measurement is there and does not pass it; None while all those that are there do.

    `measured` is everything known so far, of the data too. What is underpowered or not a number never passes either,
    whatever else is measured. It is taken for fresh. `pruned` is False when the dense twin itself is judged.
    """
    known = [rule for rule in policy.rules if _is_there(rule, measured)]
    evidence = Evidence(_CANDIDATE, _TWIN if pruned else _CANDIDATE, _DATA, measured)
    verdict = judge(
        replace(policy, rules=tuple(known), evidence_days_max=None),
        [evidence],
        candidate=_CANDIDATE,
        twin=str(evidence.twin),
        data=_DATA,
    )
    return next((finding.rule for finding in verdict.objections), None)


def wanted(policy: Policy, *, pruned: bool = True) -> frozenset[str]:
    """The names of the measurements that a policy judges: what an evaluation for it has to make."""
    return frozenset(rule.measurement for rule in policy.rules if pruned or rule.subject is not Subject.PRUNED)


def wants_more(policy: Policy, rule: str) -> bool:
    """Whether what this rule refused could pass if more were cut: it is about size, speed or cost."""
    return any(each.name == rule and each.measurement.startswith("efficiency.") for each in policy.rules)


def _is_there(rule: Rule, measured: Mapping[str, Measurement]) -> bool:
    below = f"{rule.measurement}.slice."
    return any(name == rule.measurement or name.startswith(below) for name in measured)
