import math

from pruneguard.evidence import Estimate, PairedTable
from pruneguard.gates.stopping import certain_failure, wanted, wants_more
from pruneguard.policy import Subject
from tests.gates.cases import policy, rule

SIZE = rule("at_most", "efficiency.size_ratio", limit=0.5, subject=Subject.PRUNED)
PAIRED = rule("non_inferior", "quality.paired", margin=0.02)
SLICES = rule("slices_non_inferior", "quality.paired", margin=0.05, rows_min=10)
DRIFT = rule("at_most_surely", "quality.divergence", limit=0.1)
POLICY = policy(SIZE, PAIRED, DRIFT)


def test_what_is_not_measured_yet_is_no_certain_failure():
    assert certain_failure(POLICY, {}) is None
    assert certain_failure(POLICY, {"efficiency.size_ratio": Estimate(0.5)}) is None


def test_the_first_rule_that_is_measured_and_not_passed_is_named():
    measured = {"quality.paired": PairedTable(500, 0, 400, 0), "efficiency.size_ratio": Estimate(0.51)}
    assert certain_failure(POLICY, measured) == SIZE.name
    assert certain_failure(POLICY, {**measured, "efficiency.size_ratio": Estimate(0.5)}) == PAIRED.name


def test_underpowered_and_no_number_are_certain_too():
    assert certain_failure(POLICY, {"quality.paired": PairedTable(10, 0, 0, 0)}) == PAIRED.name
    assert certain_failure(POLICY, {"quality.divergence": Estimate(0.05, 0.0, 0.2)}) == DRIFT.name
    assert certain_failure(POLICY, {"quality.divergence": Estimate(math.nan)}) == DRIFT.name


def test_a_slice_that_lost_is_a_certain_failure():
    measured = {"quality.paired.slice.class=1": PairedTable(5, 0, 45, 0)}
    assert certain_failure(policy(SLICES), measured) == SLICES.name


def test_the_twin_is_not_stopped_by_rules_for_pruned_models():
    measured = {"efficiency.size_ratio": Estimate(1.0)}
    assert certain_failure(POLICY, measured) == SIZE.name
    assert certain_failure(POLICY, measured, pruned=False) is None


def test_a_policy_wants_what_its_rules_judge():
    assert wanted(POLICY) == {"efficiency.size_ratio", "quality.paired", "quality.divergence"}
    assert wanted(POLICY, pruned=False) == {"quality.paired", "quality.divergence"}


def test_only_rules_about_size_and_speed_want_more_to_be_cut():
    assert wants_more(POLICY, SIZE.name)
    assert not wants_more(POLICY, PAIRED.name)
    assert not wants_more(POLICY, "a rule of another policy")
