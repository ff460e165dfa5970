import itertools
import math

import pytest

from pruneguard.evidence import Estimate, Evidence, PairedTable
from pruneguard.gates import GATES, MEASUREMENTS, judge, objections
from pruneguard.policy import Policy, Rule, Subject
from pruneguard.verdict import Finding, Outcome, Verdict
from tests.gates.cases import CANDIDATE, DATA, TWIN, evidence, policy, rule

FLIPS = rule("at_most", "quality.flips", limit=0.1)
FASTER = rule("at_most", "efficiency.latency_ratio", limit=1, subject=Subject.PRUNED)
ABOUT_DATA = Evidence(DATA, None, DATA, {"data.leakage": Estimate(0.0)})
GOOD = evidence({"quality.flips": Estimate(0.01)})
OTHER = "sha256:" + "e" * 64


def verdict(given: Policy, *documents: Evidence, candidate: str = CANDIDATE, twin: str = TWIN) -> Verdict:
    return judge(given, documents, candidate=candidate, twin=twin, data=DATA)


def only(result: Verdict) -> Finding:
    (finding,) = result.findings
    return finding


def test_a_policy_without_rules_is_never_a_pass() -> None:
    assert not verdict(policy(), GOOD).passed


def test_no_evidence_at_all_is_never_a_pass() -> None:
    assert only(verdict(policy(FLIPS))).outcome is Outcome.NO_EVIDENCE


def test_every_rule_is_checked_and_every_reason_reported() -> None:
    rules = (FLIPS, rule("at_most", "data.leakage", limit=0), rule("non_inferior", "quality.paired", margin=0.01))
    bad = evidence({"quality.flips": Estimate(0.5), "quality.paired": PairedTable(80, 0, 20, 0)})
    result = verdict(policy(*rules), bad)
    assert [f.rule for f in result.findings] == [r.name for r in rules]
    assert [f.outcome for f in result.objections] == [Outcome.FAILED, Outcome.NO_EVIDENCE, Outcome.FAILED]


def test_evidence_about_data_and_about_the_candidate_is_judged_together() -> None:
    given = policy(FLIPS, rule("at_most", "data.leakage", limit=0))
    assert verdict(given, GOOD, ABOUT_DATA).passed


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (Evidence(OTHER, TWIN, DATA, GOOD.measurements), "another model"),
        (Evidence(CANDIDATE, OTHER, DATA, GOOD.measurements), "another twin"),
        (Evidence(CANDIDATE, None, DATA, GOOD.measurements), "another twin"),
        (Evidence(CANDIDATE, TWIN, OTHER, GOOD.measurements), "other data"),
        (Evidence(TWIN, TWIN, DATA, GOOD.measurements), "another model"),
    ],
)
def test_evidence_about_something_else_does_not_count_and_is_named(wrong: Evidence, why: str) -> None:
    result = only(verdict(policy(FLIPS), wrong))
    assert result.outcome is Outcome.NO_EVIDENCE
    assert why in result.observed


def test_two_documents_that_disagree_are_no_evidence_however_good_one_is() -> None:
    for documents in itertools.permutations((GOOD, evidence({"quality.flips": Estimate(0.02)}))):
        result = only(verdict(policy(FLIPS), *documents))
        assert (result.outcome, "more than once" in result.observed) == (Outcome.NO_EVIDENCE, True)


def test_the_same_evidence_twice_is_evidence_once() -> None:
    assert verdict(policy(FLIPS), GOOD, GOOD) == verdict(policy(FLIPS), GOOD)


def test_rules_for_pruned_models_are_left_out_for_the_twin_only() -> None:
    given = policy(FLIPS, FASTER)
    of_twin = Evidence(TWIN, TWIN, DATA, {"quality.flips": Estimate(0.0)})
    assert verdict(given, of_twin, candidate=TWIN).passed
    assert not verdict(given, GOOD).passed


def test_a_policy_of_rules_for_pruned_models_only_does_not_pass_the_twin() -> None:
    assert not verdict(policy(FASTER), Evidence(TWIN, TWIN, DATA, {}), candidate=TWIN).passed


@pytest.mark.parametrize(
    "broken",
    [
        rule("at_leest", "quality.flips", limit=0.1),
        rule("at_most", "quality.flops", limit=0.1),
        rule("at_most", "quality.flips"),
        rule("non_inferior", "quality.paired", margin=1.0),
        rule("at_most", "quality.flips", limit=2),
        rule("at_most", "quality.flips", limit=0.1, margin=0.1),
        rule("non_inferior", "quality.flips", margin=0.1),
    ],
)
def test_a_rule_that_no_loader_checked_and_nobody_can_check_is_no_evidence(broken: Rule) -> None:
    result = only(verdict(policy(broken), GOOD))
    assert (result.outcome, "cannot be checked" in result.observed) == (Outcome.NO_EVIDENCE, True)


def test_the_verdict_names_policy_candidate_twin_data_and_all_evidence() -> None:
    given = policy(FLIPS)
    result = verdict(given, GOOD, ABOUT_DATA)
    assert (result.policy, result.candidate, result.twin, result.data) == (given.digest, CANDIDATE, TWIN, DATA)
    assert set(result.evidence) == {GOOD.digest, ABOUT_DATA.digest}


def test_a_verdict_judged_again_from_the_recorded_bytes_is_the_same_byte_for_byte() -> None:
    names = ("quality.flips", "calibration.ece", "ood.auroc", "quality.divergence", "quality.accuracy")
    given = policy(
        *(rule("at_most_surely", name, limit=0.1) for name in names),
        rule("non_inferior", "quality.paired", margin=0.01),
        rule("slices_non_inferior", "quality.paired", margin=0.02),
    )
    measured = evidence(
        {
            "quality.flips": Estimate(0.01, math.nan, math.inf, 100),
            "calibration.ece": Estimate(math.inf),
            "ood.auroc": Estimate(0.1, 0.0, math.nextafter(0.1, 1)),
            "quality.divergence": Estimate(math.nextafter(0.1, 1), math.nan, 1.0),
            "quality.accuracy": Estimate(1.0, 1.0, 1.0, 10),
            "quality.paired": PairedTable(400, 3, 9, 5),
            "quality.paired.slice.class=0": PairedTable(40, 3, 9, 5),
        }
    )
    again = judge(
        Policy.decode(given.encode()), [Evidence.decode(measured.encode())], candidate=CANDIDATE, twin=TWIN, data=DATA
    )
    assert again.encode() == verdict(given, measured).encode()


def test_the_order_of_the_evidence_changes_nothing() -> None:
    given = policy(FLIPS, rule("at_most", "data.leakage", limit=0))
    assert verdict(given, GOOD, ABOUT_DATA).encode() == verdict(given, ABOUT_DATA, GOOD).encode()


def test_no_objection_to_any_gate_on_a_measurement_it_can_judge() -> None:
    values = {"limit": 1.0, "margin": 0.01}
    for gate, (name, scale) in itertools.product(GATES.values(), MEASUREMENTS.items()):
        parameters = {p.name: values[p.name] for p in gate.parameters if p.default is None}
        assert (list(objections(gate.name, name, parameters)) == []) == (scale.kind is gate.judges)


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"margin": 0}, "margin"),
        ({"margin": 1}, "margin"),
        ({"margin": "a lot"}, "margin"),
        ({"margin": True}, "margin"),
        ({"margin": math.inf}, "margin"),
        ({}, "margin"),
        ({"margin": 0.01, "alpha": 0}, "alpha"),
        ({"margin": 0.01, "alpha": 0.5}, "alpha"),
        ({"margin": 0.01, "rows_min": 30}, "rows_min"),
    ],
)
def test_an_impossible_parameter_is_objected_to_by_name(parameters: dict[str, object], field: str) -> None:
    assert [name for name, _ in objections("non_inferior", "quality.paired", parameters)] == [field]


def test_an_objection_names_our_own_gates_and_how_those_of_packages_are_written() -> None:
    (told,) = [why for name, why in objections("zzz", "quality.flips", {}) if name == "gate"]
    assert "'at_most_surely'" in told
    assert "package/name" in told
