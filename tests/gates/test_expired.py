"""Evidence has an age, and a policy says how old it may be: what is expired is a finding, never a pass."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneguard.evidence import Estimate, Evidence
from pruneguard.gates import judge
from pruneguard.gates.selftest import self_test
from pruneguard.gates.stopping import certain_failure
from pruneguard.policy import Policy
from pruneguard.verdict import Finding, Outcome
from tests.gates.cases import CANDIDATE, DATA, TWIN, evidence, policy, rule

MEASURED = "2026-01-01T12:00:00.000000Z"
FORTY_DAYS_LATER = "2026-02-10T12:00:00.000000Z"
GOOD = replace(evidence({"quality.flips": Estimate(0.01)}), measured_at=MEASURED)
LIMITED = replace(policy(rule("at_most", "quality.flips", limit=0.1)), evidence_days_max=30)


def found(document: Evidence, *, at: str | None, given: Policy = LIMITED) -> Finding:
    (finding,) = judge(given, [document], candidate=CANDIDATE, twin=TWIN, data=DATA, at=at).findings
    return finding


def test_evidence_that_is_too_old_is_no_evidence_and_the_finding_says_how_old() -> None:
    result = found(GOOD, at=FORTY_DAYS_LATER)
    assert result.outcome is Outcome.NO_EVIDENCE
    assert "measured 2026-01-01T12:00:00.000000Z, 40 days before (the policy allows 30)" in result.observed


@pytest.mark.parametrize(
    ("at", "outcome"),
    [
        (MEASURED, Outcome.PASSED),
        ("2026-01-31T12:00:00.000000Z", Outcome.PASSED),  # to the microsecond
        ("2026-01-31T12:00:00.000001Z", Outcome.NO_EVIDENCE),
    ],
)
def test_the_last_day_counts_to_its_end(at: str, outcome: Outcome) -> None:
    assert found(GOOD, at=at).outcome is outcome


@pytest.mark.parametrize(
    ("document", "at"),
    [(replace(GOOD, measured_at=None), MEASURED), (GOOD, None)],
    ids=["no date", "judged who knows when"],
)
def test_an_age_that_nobody_knows_is_no_evidence(document: Evidence, at: str | None) -> None:
    result = found(document, at=at)
    assert result.outcome is Outcome.NO_EVIDENCE
    assert "unknown age" in result.observed


def test_evidence_from_after_the_judgement_is_no_evidence() -> None:
    result = found(GOOD, at="2026-01-01T11:59:59.999999Z")
    assert result.outcome is Outcome.NO_EVIDENCE
    assert "after this was judged" in result.observed


def test_a_policy_that_says_nothing_of_age_takes_any() -> None:
    any_age = replace(LIMITED, evidence_days_max=None)
    assert found(GOOD, at=FORTY_DAYS_LATER, given=any_age).outcome is Outcome.PASSED
    assert found(replace(GOOD, measured_at=None), at=None, given=any_age).outcome is Outcome.PASSED


@given(days=st.integers(1, 400), allowed=st.integers(1, 400))
def test_waiting_longer_never_turns_a_no_into_a_pass(days: int, allowed: int) -> None:
    limited = replace(LIMITED, evidence_days_max=allowed)
    month, day = divmod(days, 28)
    year, month = divmod(month, 12)
    at = f"{2026 + year}-{month + 1:02}-{day + 1:02}T12:00:00.000000Z"
    later = f"{2026 + year + 1}-{month + 1:02}-{day + 1:02}T12:00:00.000000Z"
    passes = [found(GOOD, at=when, given=limited).outcome is Outcome.PASSED for when in (at, later)]
    assert passes in ([True, True], [True, False], [False, False])


def test_the_trial_of_the_gates_tries_old_and_undated_evidence_where_a_policy_limits_age() -> None:
    seeded = {trial.seeded: trial for trial in self_test(LIMITED).trials}
    assert seeded["measured too long ago"].refused
    assert seeded["without its date"].refused
    assert self_test(LIMITED).passed
    assert self_test(LIMITED).impassable == ()
    assert "measured too long ago" not in {t.seeded for t in self_test(replace(LIMITED, evidence_days_max=None)).trials}


def test_what_a_search_has_just_measured_is_fresh() -> None:
    assert certain_failure(LIMITED, GOOD.measurements) is None


def test_a_policy_keeps_its_days_and_evidence_its_date() -> None:
    assert Policy.decode(LIMITED.encode()) == LIMITED
    assert Evidence.decode(GOOD.encode()) == GOOD
