from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.document import load_policy, shipped
from pruneguard.gates import GATES, MEASUREMENTS, selftest
from pruneguard.gates.judging import judge as real_judge
from pruneguard.gates.selftest import self_test
from pruneguard.policy import Policy
from pruneguard.verdict import Finding, Outcome, Verdict
from tests.gates.cases import policy, rule

STANDARD = load_policy("standard")


@pytest.mark.parametrize("name", shipped())
def test_every_rule_of_a_shipped_policy_refuses_all_that_is_bad_on_purpose(name: str) -> None:
    loaded = load_policy(name)
    trial = self_test(loaded)
    assert (trial.refused, trial.of >= 20, trial.passed, trial.impassable) == (trial.of, True, True, ())
    assert {t.rule for t in trial.trials} >= {r.name for r in loaded.rules}


def test_the_trial_names_what_was_wrong_with_each_piece_of_evidence() -> None:
    seeded = {t.seeded for t in self_test(STANDARD).trials}
    assert {
        "not measured",
        "not a number",
        "just past the limit",
        "about another model",
        "on an older data snapshot",
        "too few rows to be sure",
        "with its labels swapped",
        "of a model whose mask is broken",
        "with one slice five points beyond the margin",
        "no evidence at all",
        "a policy without rules",
    } <= seeded


def test_the_same_policy_leads_to_the_same_bytes() -> None:
    assert self_test(STANDARD).encode() == self_test(Policy.decode(STANDARD.encode())).encode()


def test_a_policy_without_rules_passes_no_trial_of_rules() -> None:
    assert {t.rule for t in self_test(policy()).trials} == {""}


def test_rules_that_exclude_each_other_are_named() -> None:
    torn = policy(
        rule("at_most", "quality.flips", limit=0.1), replace(rule("at_least", "quality.flips", limit=0.5), name="other")
    )
    trial = self_test(torn)
    assert trial.passed
    assert trial.impassable


def test_a_rule_that_no_gate_knows_is_refused_and_can_never_be_met() -> None:
    trial = self_test(policy(rule("as_you_like", "quality.flips")))
    assert trial.passed
    assert trial.impassable == ("quality.flips as_you_like",)


@pytest.mark.parametrize(
    "broken", [Outcome.FAILED, Outcome.NO_EVIDENCE, Outcome.UNDERPOWERED], ids=lambda outcome: outcome.value
)
def test_a_judge_that_lets_one_kind_of_refusal_pass_fails_its_trial(
    broken: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lenient(*args: object, **kwargs: object) -> Verdict:
        verdict = real_judge(*args, **kwargs)  # type: ignore[arg-type]

        def let(finding: Finding) -> Finding:
            return replace(finding, outcome=Outcome.PASSED) if finding.outcome is broken else finding

        return replace(verdict, findings=tuple(map(let, verdict.findings)))

    monkeypatch.setattr(selftest, "judge", lenient)
    trial = self_test(STANDARD)
    assert not trial.passed
    assert trial.refused < trial.of


@settings(deadline=None)
@given(st.data())
def test_no_policy_that_can_be_written_fails_its_trial(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(MEASUREMENTS)))
    scale = MEASUREMENTS[name]
    gate = data.draw(st.sampled_from(sorted(g for g, kind in GATES.items() if kind.judges is scale.kind)))
    parameters = {}
    for parameter in GATES[gate].parameters:
        low = scale.low if parameter.name == "limit" else parameter.above
        high = scale.high if parameter.name == "limit" else parameter.below
        drawn = st.floats(
            min_value=max(low, -1e6) if low is not None else None,
            max_value=min(high if high is not None else 1e6, 1e6),
            exclude_min=parameter.above is not None,
            exclude_max=parameter.below is not None,
        )
        parameters[parameter.name] = data.draw(drawn.filter(lambda x: x == 0 or abs(x) > 1e-6))
    trial = self_test(policy(rule(gate, name, **parameters)))
    assert [t for t in trial.trials if not t.refused] == []
