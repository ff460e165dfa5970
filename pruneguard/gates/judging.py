"""Policy and evidence in, verdict out."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from pruneguard.evidence import Evidence, Measurement
from pruneguard.gates import measurements
from pruneguard.gates.catalogue import Catalogue, absent, foreign_gates, foreign_scales, package
from pruneguard.gates.gate import Gate, no_evidence
from pruneguard.gates.limits import LIMITS
from pruneguard.gates.measurements import Scale
from pruneguard.gates.paired import PAIRED
from pruneguard.policy import Policy, Rule, Subject
from pruneguard.verdict import Finding, Outcome, Verdict

GATES: Catalogue[Gate] = Catalogue({gate.name: gate for gate in (*LIMITS, *PAIRED)}, foreign_gates)
"""Every gate that a policy can name: ours, and those of installed packages as `package/gate`."""

MEASUREMENTS: Catalogue[Scale] = Catalogue(measurements.MEASUREMENTS, foreign_scales)
"""Every measurement that a policy can name: ours, and those of installed packages as `package/measurement`."""


def judge(
    policy: Policy, evidence: Sequence[Evidence], *, candidate: str, twin: str, data: str, at: str | None = None
) -> Verdict:
    """Check every rule of the policy; one run reports every reason.

    Only evidence about exactly this candidate, twin and data snapshot counts. Rules for pruned models are left out
    when the candidate is the twin. `at` is when it is judged: where a policy says how old evidence may be, what was
    measured earlier does not count, nor what has no date, nor anything when `at` is None. Pure: the same policy,
    evidence and time give the same bytes, in any order of evidence.
    """

    def why_not(e: Evidence) -> str | None:
        other = _mismatch(e, candidate=candidate, twin=twin, data=data)
        return other or _expired(e, days_max=policy.evidence_days_max, at=at)

    fitting = [e for e in evidence if why_not(e) is None]
    others = [(why, e) for e in evidence if (why := why_not(e)) is not None]
    rules = [rule for rule in policy.rules if candidate != twin or rule.subject is not Subject.PRUNED]
    return Verdict(
        policy.digest,
        candidate,
        twin,
        data,
        tuple(sorted({e.digest for e in evidence})),
        tuple(_finding(rule, fitting, others) for rule in rules),
    )


def objections(gate: str, measurement: str, parameters: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Pairs of field and reason for which a rule like this can never work: `gate`, `measurement` or a parameter."""
    kind = GATES.get(gate)
    scale = MEASUREMENTS.get(measurement)
    if kind is None:
        yield "gate", f"unknown gate {gate!r}; {_nearest(gate, GATES.own)}"
    if scale is None:
        yield "measurement", f"unknown measurement {measurement!r}; {_nearest(measurement, MEASUREMENTS.own)}"
    if kind is None:
        return
    yield from kind.objections(parameters)
    if scale is None:
        return
    if scale.kind is not kind.judges:
        fitting = sorted(g.name for g in GATES.own.values() if g.judges is scale.kind)
        yield "gate", f"gate {gate!r} cannot judge {measurement!r}; those that can are {fitting}"
    limit = parameters.get("limit")
    if isinstance(limit, int | float) and not scale.low <= limit <= scale.high:
        ends = f"{scale.low:g} to {scale.high:g}"
        yield "limit", f"limit is {limit:g}; {measurement} lies in {ends}, so the rule would decide nothing"


def missing(policy: Policy) -> list[str]:
    """What a policy needs of other packages and does not find here, with the reason: then nothing can be decided."""
    asked = {("gate", rule.gate) for rule in policy.rules} | {
        ("measurement", rule.measurement) for rule in policy.rules
    }
    known: Mapping[str, Mapping[str, object]] = {"gate": GATES, "measurement": MEASUREMENTS}
    return [
        f"{kind} {name!r}: {absent(name)}"
        for kind, name in sorted(asked)
        if package(name) is not None and name not in known[kind]
    ]


def _finding(rule: Rule, fitting: Sequence[Evidence], others: Sequence[tuple[str, Evidence]]) -> Finding:
    broken = next(objections(rule.gate, rule.measurement, rule.parameters), None)
    if broken is not None:  # a policy that no loader checked; the rule must not vanish
        answer = no_evidence(f"this rule cannot be checked: {broken[1]}", "a rule that this program knows")
    else:
        gate = GATES[rule.gate]
        parameters = gate.complete(rule.parameters)
        measured, torn = _merged(fitting, rule.measurement)
        answer = gate.check(rule.measurement, parameters, measured)
        if torn:
            answer = no_evidence(f"{torn[0]} was measured more than once, differently", answer.required)
    observed = answer.observed
    if answer.outcome is Outcome.NO_EVIDENCE:
        observed += "".join(sorted({f"; {why} has it" for why, e in others if _speaks_of(e, rule.measurement)}))
    return Finding(rule.name, rule.gate, answer.outcome, observed, answer.required, answer.flip, rule.remedy)


def _merged(fitting: Sequence[Evidence], measurement: str) -> tuple[dict[str, Measurement], list[str]]:
    """The measurement with its slices out of all fitting evidence, and the names on which two documents disagree."""
    measured: dict[str, Measurement] = {}
    torn = set()
    for evidence in fitting:
        for name, value in evidence.measurements.items():
            if name == measurement or name.startswith(f"{measurement}.slice."):
                # Written as documents, so that NaN equals NaN and 1 equals 1.0.
                if name in measured and measured[name].to_document() != value.to_document():
                    torn.add(name)
                measured[name] = value
    return measured, sorted(torn)


def _speaks_of(evidence: Evidence, measurement: str) -> bool:
    return any(name == measurement or name.startswith(f"{measurement}.slice.") for name in evidence.measurements)


def _mismatch(evidence: Evidence, *, candidate: str, twin: str, data: str) -> str | None:
    """Why this evidence does not count here; None when it does."""
    if evidence.data != data:
        return f"evidence on other data ({evidence.data})"
    if evidence.subject == data and evidence.twin is None:
        return None
    if evidence.subject != candidate:
        return f"evidence about another model ({evidence.subject})"
    if evidence.twin != twin:
        return f"evidence against another twin ({evidence.twin})"
    return None


def _expired(evidence: Evidence, *, days_max: int | None, at: str | None) -> str | None:
    """Why this evidence is too old to count at that time, or may be; None when it is not."""
    if days_max is None:
        return None
    if at is None or evidence.measured_at is None:
        return f"evidence of unknown age (the policy allows {days_max} days)"
    age = datetime.fromisoformat(at) - datetime.fromisoformat(evidence.measured_at)
    if age < timedelta(0):
        return f"evidence measured {evidence.measured_at}, after this was judged,"
    if age > timedelta(days=days_max):
        return f"evidence measured {evidence.measured_at}, {age.days} days before (the policy allows {days_max}),"
    return None


def _nearest(name: str, known: Mapping[str, object]) -> str:
    """What to write instead. Of ours alone: a finding says the same wherever it is made again."""
    if package(name) is not None:
        return absent(name)
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {sorted(known)}, and package/name of other packages"
