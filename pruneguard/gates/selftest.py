"""The gates on trial: evidence that is bad on purpose, for every rule of a policy, given to the real judge.

A gate that lets a broken candidate through looks like one that works until somebody feeds it one. Pure, so that whoever
has the policy can hold the trial again and must come to the same bytes.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import NormalDist
from typing import Any

from pruneguard import canonical
from pruneguard.evidence import Estimate, Evidence, Measurement, PairedTable
from pruneguard.gates.judging import GATES, judge
from pruneguard.policy import Policy, Rule

CANDIDATE, TWIN, DATA, OTHER = (canonical.digest(name.encode()) for name in ("candidate", "twin", "data", "other"))
ROWS = 10_000
AT = "2026-01-01T00:00:00.000000Z"
"""When the evidence was measured and is judged."""

Measured = dict[str, Measurement]


@dataclass(frozen=True, slots=True)
class Trial:
    """One piece of bad evidence, the rule it aims at, and what that rule made of it."""

    rule: str
    seeded: str
    outcome: str
    refused: bool


@dataclass(frozen=True, slots=True)
class SelfTest(canonical.Document):
    """How a policy's gates did. `impassable` are rules that refuse good evidence too: no model can satisfy them."""

    policy: str
    trials: tuple[Trial, ...]
    impassable: tuple[str, ...]

    @property
    def refused(self) -> int:
        return sum(trial.refused for trial in self.trials)

    @property
    def of(self) -> int:
        return len(self.trials)

    @property
    def passed(self) -> bool:
        return bool(self.trials) and self.refused == self.of

    def to_document(self) -> dict[str, Any]:
        return {
            "kind": "gate-self-test/v1",
            "policy": self.policy,
            "refused": self.refused,
            "of": self.of,
            "impassable": list(self.impassable),
            "trials": [
                {"rule": t.rule, "seeded": t.seeded, "outcome": t.outcome, "refused": t.refused} for t in self.trials
            ],
        }


def self_test(policy: Policy) -> SelfTest:
    """Give every rule of the policy the bad evidence that it must refuse, and all of them good evidence once."""
    good = {name: m for rule in policy.rules for name, m in _good(rule, policy).items()}
    verdict = judge(policy, _documents(good), candidate=CANDIDATE, twin=TWIN, data=DATA, at=AT)
    seeds = ((rule, *seed) for rule in policy.rules for seed in (*_seeds(rule, good), *_aged(rule, good, policy)))
    trials = [_tried(policy, rule, seeded, bad) for rule, seeded, bad in seeds]
    trials += [
        _tried(policy, None, "no evidence at all", []),
        _tried(replace(policy, rules=()), None, "a policy without rules", _documents(good)),
    ]
    return SelfTest(policy.digest, tuple(trials), tuple(finding.rule for finding in verdict.objections))


def _tried(policy: Policy, rule: Rule | None, seeded: str, evidence: list[Evidence]) -> Trial:
    judged = replace(policy, rules=(rule,)) if rule else policy
    verdict = judge(judged, evidence, candidate=CANDIDATE, twin=TWIN, data=DATA, at=AT)
    outcome = verdict.findings[0].outcome.value if verdict.findings else "no finding"
    return Trial(rule.name if rule else "", seeded, outcome, not verdict.passed)


# -- good evidence --------------------------------------------------------------------------------------------------


def _good(rule: Rule, policy: Policy) -> Measured:
    """Measurements that this rule, and every other about the same measurement, should let pass."""
    if (gate := GATES.get(rule.gate)) is None:
        return {}
    if gate.trial is not None:
        return dict(gate.trial(rule.measurement, rule.parameters)[0])
    if gate.judges is PairedTable:
        own = [r.parameters for r in policy.rules if r.measurement == rule.measurement]
        margin = min((p["margin"] for p in own if p.get("margin", 0) > 0), default=1.0)
        small = max((p.get("rows_min", 0) for p in own), default=0)
        table = PairedTable(max(_enough(small), math.ceil(100 / margin)), 0, 0, 0)
        return {rule.measurement: table, **{_slice(rule, label): table for label in "ab"}}
    limits = [r.parameters.get("limit", 0.0) for r in policy.rules if r.measurement == rule.measurement]
    fitting = (limit for limit in limits if _passes(policy, {rule.measurement: _certain(limit)}))
    return {rule.measurement: _certain(next(fitting, limits[0]))}


def _passes(policy: Policy, measured: Measured) -> bool:
    own = tuple(rule for rule in policy.rules if rule.measurement in measured)
    documents = _documents(measured)
    return judge(replace(policy, rules=own), documents, candidate=CANDIDATE, twin=TWIN, data=DATA, at=AT).passed


def _certain(value: float) -> Estimate:
    return Estimate(value, value, value, n=ROWS)


# -- bad evidence ---------------------------------------------------------------------------------------------------


def _seeds(rule: Rule, good: Mapping[str, Measurement]) -> Iterator[tuple[str, list[Evidence]]]:
    """What is wrong, in words, and the evidence with exactly that wrong about it."""
    own = _own(rule, good)
    yield "not measured", _documents({})
    yield "about another model", [_document(OTHER, TWIN, DATA, own)]
    yield "against another twin", [_document(CANDIDATE, OTHER, DATA, own)]
    yield "on an older data snapshot", [_document(CANDIDATE, TWIN, OTHER, own), _document(OTHER, None, OTHER, own)]
    yield "of the twin, given as the candidate's", [_document(TWIN, TWIN, DATA, own)]
    yield "measured twice, differently", _documents(own) + _documents({n: _nudged(m) for n, m in own.items()})
    if (gate := GATES.get(rule.gate)) is None:
        return
    if gate.trial is not None:
        yield "that its package calls bad", _documents({**own, **gate.trial(rule.measurement, rule.parameters)[1]})
        return
    wrong = _wrong_slices if rule.gate == "slices_non_inferior" else _wrong_tables
    bad = _wrong_numbers(rule) if gate.judges is Estimate else wrong(rule)
    for seeded, changed in bad:
        yield seeded, _documents({**own, **changed})


def _aged(rule: Rule, good: Mapping[str, Measurement], policy: Policy) -> Iterator[tuple[str, list[Evidence]]]:
    if policy.evidence_days_max is None:
        return
    then = datetime.fromisoformat(AT) - timedelta(days=policy.evidence_days_max, microseconds=1)
    past = then.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    for seeded, when in (("measured too long ago", past), ("without its date", None)):
        yield seeded, [replace(each, measured_at=when) for each in _documents(_own(rule, good))]


def _own(rule: Rule, good: Mapping[str, Measurement]) -> Measured:
    return {name: m for name, m in good.items() if name == rule.measurement or name.startswith(_slice(rule, ""))}


def _wrong_numbers(rule: Rule) -> Iterator[tuple[str, Measured]]:
    name, limit = rule.measurement, rule.parameters.get("limit", 0.0)
    beyond = math.inf if rule.gate.startswith("at_most") else -math.inf
    past = math.nextafter(limit, beyond)
    yield "not a number", {name: Estimate(math.nan, n=ROWS)}
    yield "without end", {name: _certain(beyond)}
    yield "just past the limit", {name: _certain(past)}
    yield "a table where a number is due", {name: PairedTable(ROWS, 0, 0, 0)}
    if rule.gate.endswith("_surely"):
        yield "too few rows to be sure", {name: Estimate(limit, min(limit, past), max(limit, past), n=2)}
        yield "without its interval", {name: Estimate(limit, n=ROWS)}


def _wrong_tables(rule: Rule) -> Iterator[tuple[str, Measured]]:
    name, margin = rule.measurement, rule.parameters.get("margin", 1.0)
    lost = math.ceil(margin * ROWS)
    yield "a number where a table is due", {name: _certain(0.0)}
    yield "of no rows", {name: PairedTable(0, 0, 0, 0)}
    yield "with a count below nothing", {name: PairedTable(ROWS, ROWS, -ROWS, 0)}
    yield "just at the margin", {name: PairedTable(ROWS - lost, 0, lost, 0)}
    yield "with its labels swapped", {name: PairedTable(0, 0, ROWS, 0)}
    if margin < 0.9:  # beyond it these are no loss that the rule forbids
        yield "of a model whose mask is broken", {name: PairedTable(0, 0, ROWS // 10 * 9, ROWS // 10)}
    if margin < _sight_of_one_row(rule):
        yield "of one row", {name: PairedTable(1, 0, 0, 0)}


def _enough(rows_min: float) -> int:
    return max(ROWS, math.ceil(2 * rows_min))


def _sight_of_one_row(rule: Rule) -> float:
    """The largest margin that one equal answer leaves open: Tango's bound without discordant rows is Wilson's."""
    squared = NormalDist().inv_cdf(1 - rule.parameters.get("alpha", 0.05)) ** 2
    return 0.99 * squared / (1 + squared)


def _wrong_slices(rule: Rule) -> Iterator[tuple[str, Measured]]:
    first, margin = _slice(rule, "a"), rule.parameters.get("margin", 1.0)
    rows_min = rule.parameters.get("rows_min", 1)
    rows, few = _enough(rows_min), max(0, math.ceil(rows_min) - 1)
    lost = min(rows, math.ceil((margin + 0.05) * rows))
    small = PairedTable(few, 0, 0, 0)
    yield "a number where a slice's table is due", {first: _certain(0.0)}
    yield "with a slice of no rows", {first: PairedTable(0, 0, 0, 0)}
    if margin < 0.9:
        yield "with one slice five points beyond the margin", {first: PairedTable(rows - lost, 0, lost, 0)}
        yield "with one slice's labels swapped", {first: PairedTable(0, 0, rows, 0)}
    yield "with slices too small to test", {first: small, _slice(rule, "b"): small}


def _nudged(measured: Measurement) -> Measurement:
    """As good, and not the same."""
    if isinstance(measured, Estimate):
        return replace(measured, n=measured.n + 1)
    return replace(measured, both_right=measured.both_right + 1)


def _slice(rule: Rule, label: str) -> str:
    return f"{rule.measurement}.slice.{f'self-test={label}' if label else ''}"


def _documents(measured: Mapping[str, Measurement]) -> list[Evidence]:
    """Evidence about the data, and about the candidate, as a run measures them."""
    about_data = {name: m for name, m in measured.items() if name.startswith("data.")}
    about_candidate = {name: m for name, m in measured.items() if name not in about_data}
    return [_document(DATA, None, DATA, about_data), _document(CANDIDATE, TWIN, DATA, about_candidate)]


def _document(subject: str, twin: str | None, data: str, measured: Mapping[str, Measurement]) -> Evidence:
    return Evidence(subject, twin, data, measured, measured_at=AT)
