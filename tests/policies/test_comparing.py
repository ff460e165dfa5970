"""What changes from one policy to another."""

import operator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.comparing import LAXER, Change, differences, summary
from policies.document import load_policy
from pruneguard.evidence import Estimate, PairedTable
from pruneguard.gates import GATES
from pruneguard.policy import Action, Canary, Monitoring, Step, Subject
from tests.gates.cases import finding, policy, rule

FLIPS = rule("at_most", "quality.flips", limit=0.1)
PAIRED = rule("non_inferior", "quality.paired", margin=0.02, alpha=0.05)
BEFORE = policy(FLIPS, PAIRED)


def only(after, before=BEFORE):
    (difference,) = differences(before, after)
    return difference.change, difference.name, difference.detail


def changed(which, **parameters):
    return replace(which, parameters={**which.parameters, **parameters})


def test_a_policy_and_itself_decide_the_same() -> None:
    assert differences(BEFORE, BEFORE) == []
    assert differences(BEFORE, replace(BEFORE, name="other", version=2)) == []
    assert summary([]) == "they decide the same"


def test_every_parameter_of_our_gates_has_a_direction() -> None:
    assert LAXER.keys() == {(gate.name, p.name) for gate in GATES.own.values() for p in gate.parameters}


@pytest.mark.parametrize(
    ("after", "change", "detail"),
    [
        (changed(FLIPS, limit=0.2), Change.LAXER, "limit 0.1 -> 0.2"),
        (changed(FLIPS, limit=0.05), Change.STRICTER, "limit 0.1 -> 0.05"),
        (replace(FLIPS, gate="at_most_surely"), Change.STRICTER, "at_most -> at_most_surely"),
        (replace(changed(FLIPS, limit=0.2), gate="at_most_surely"), Change.CHANGED, "at_most -> at_most_surely, lim"),
        (replace(FLIPS, gate="at_least"), Change.CHANGED, "at_most -> at_least"),
        (replace(FLIPS, measurement="quality.divergence"), Change.CHANGED, "quality.flips -> quality.divergence"),
        (replace(FLIPS, subject=Subject.PRUNED), Change.LAXER, "for any models -> for pruned models"),
        (replace(FLIPS, because="another reason"), Change.WORDS, "another reason"),
    ],
)
def test_a_rule_that_is_another_is_told_with_its_direction(after, change, detail) -> None:
    assert only(policy(after, PAIRED))[0] is change
    assert only(policy(after, PAIRED))[2].startswith(detail)


def test_numbers_that_move_against_each_other_are_neither_laxer_nor_stricter() -> None:
    change, _, detail = only(policy(FLIPS, changed(PAIRED, margin=0.03, alpha=0.01)))
    assert (change, detail) == (Change.CHANGED, "alpha 0.05 -> 0.01, margin 0.02 -> 0.03")


def test_a_rule_that_comes_or_goes_is_told_as_that() -> None:
    assert only(policy(FLIPS))[:2] == (Change.GONE, PAIRED.name)
    assert only(BEFORE, policy(FLIPS))[:2] == (Change.NEW, PAIRED.name)


@pytest.mark.parametrize(
    ("terms", "change"),
    [
        ({"approvals_min": 2}, Change.STRICTER),
        ({"canary": Canary((Step(0.2, 200),))}, Change.LAXER),  # a fifth at once
        ({"canary": Canary((Step(0.2, 300),))}, Change.CHANGED),  # and longer before everything
        ({"canary": Canary((Step(0.1, 100),))}, Change.LAXER),
        ({"canary": Canary((Step(0.1, 200, 60),))}, Change.STRICTER),
        ({"canary": Canary((Step(0.05, 100), Step(0.1, 200)))}, Change.STRICTER),
        ({"canary": Canary(alpha=0.001)}, Change.LAXER),
        ({"canary": Canary(worse_max=0.1)}, Change.LAXER),
        ({"canary": Canary(slower_max=0.01)}, Change.STRICTER),
        ({"monitoring": Monitoring(0.2, 0.01, 0.01)}, Change.STRICTER),
        ({"monitoring": Monitoring(0.1, 0.02, 0.01)}, Change.STRICTER),
        ({"monitoring": Monitoring(0.1, 0.01, 0.02)}, Change.LAXER),
        ({"on_decay": Action.NOTIFY}, Change.LAXER),
        ({"on_lapse": Action.ROLL_BACK}, Change.STRICTER),
        ({"server_attested": False}, Change.STRICTER),
        ({"waivers": False}, Change.STRICTER),
        ({"purpose": "other"}, Change.WORDS),
    ],
)
def test_a_term_that_is_another_is_told_with_its_direction(terms, change) -> None:
    assert only(replace(BEFORE, **terms))[0] is change


def test_what_may_let_more_pass_is_laxer_gone_or_neither() -> None:
    telling = {
        change for change in Change if replace(differences(BEFORE, policy(FLIPS))[0], change=change).lets_more_pass
    }
    assert telling == {Change.LAXER, Change.GONE, Change.CHANGED}


def test_high_risk_is_stricter_than_standard_but_for_what_it_says_it_leaves_out() -> None:
    found = differences(load_policy("standard"), load_policy("high-risk"))
    assert [d.name for d in found if d.lets_more_pass] == ["quality.slices", "efficiency.latency_ratio_b64"]


counts = st.integers(0, 60)
numbers = st.floats(0.01, 0.4)


BETWEEN = {
    ("at_most", "limit"): (0.1, 0.3),
    ("at_most_surely", "limit"): (0.1, 0.3),
    ("at_least", "limit"): (0.3, 0.1),
    ("at_least_surely", "limit"): (0.3, 0.1),
    ("non_inferior", "margin"): (0.1, 0.3),
    ("non_inferior", "alpha"): (0.001, 0.4),
    ("slices_non_inferior", "margin"): (0.01, 0.3),
    ("slices_non_inferior", "alpha"): (0.4, 0.001),
    ("slices_non_inferior", "rows_min"): (30, 201),
}
"""Of each parameter a stricter and a laxer value, which decide differently on what stands between them."""


def allowed(key, value, table, number) -> bool:
    gate, parameter = key
    others = {"limit": 0.2, "margin": 0.1 if parameter == "alpha" else 0.05, "alpha": 0.05, "rows_min": 20}
    base = {p.name: others[p.name] for p in GATES[gate].parameters}
    tested = PairedTable(500, 0, 0, 0)  # a slice that is never too small
    measured = (
        {"quality.flips": number}
        if GATES[gate].judges is Estimate
        else {"quality.paired": table, "quality.paired.slice.a=1": table, "quality.paired.slice.a=2": tested}
    )
    return finding(gate, next(iter(measured)), measured, **{**base, parameter: value}).allows


@pytest.mark.parametrize("key", sorted(LAXER))
def test_the_direction_of_a_parameter_is_that_in_which_more_pass(key) -> None:
    strict, lax = BETWEEN[key]
    assert (lax - strict) * LAXER[key] > 0
    lost = 16 if key == ("non_inferior", "alpha") else 28
    table, number = PairedTable(200 - lost, 0, lost, 0), Estimate(0.2, 0.19, 0.21)
    assert not allowed(key, strict, table, number)
    assert allowed(key, lax, table, number)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(LAXER)), numbers, numbers, numbers, counts, counts, st.integers(0, 400))
def test_whatever_passes_a_rule_passes_one_that_is_called_laxer(key, one, two, value, won, lost, right) -> None:
    scale = 100 if key[1] == "rows_min" else 1
    strict, lax = sorted((one * scale, two * scale), reverse=LAXER[key] < 0)
    table, number = PairedTable(right, won, lost, 5), Estimate(value, value - 0.01, value + 0.01)
    assert operator.le(*(allowed(key, each, table, number) for each in (strict, lax)))
