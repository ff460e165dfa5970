"""What a policy says, in plain words."""

import pytest

from policies import explaining
from policies.document import load_policy, shipped
from pruneguard.gates import GATES, MEASUREMENTS
from pruneguard.policy import Subject
from tests import plugged
from tests.gates.cases import rule


@pytest.mark.parametrize("name", shipped())
def test_every_rule_of_a_shipped_policy_is_explained(name: str) -> None:
    for each in load_policy(name).rules:
        told = explaining.explained(each)
        assert all(told.to_document().values())
        assert MEASUREMENTS[each.measurement].doc in told.judges


def test_every_gate_of_ours_has_words_of_its_own() -> None:
    for gate in GATES.own.values():
        name = "quality.paired" if gate.judges.__name__ == "PairedTable" else "quality.flips"
        given = gate.complete({p.name: 0.1 for p in gate.parameters if p.default is None})
        assert "answers for that" not in explaining.explained(rule(gate.name, name, **given)).errs


def test_a_margin_tells_its_error_rate_and_its_rows() -> None:
    told = explaining.explained(rule("non_inferior", "quality.paired", margin=0.01, alpha=0.05))
    assert told.proves == "It is less than 1 point less accurate than its twin, at 95 % confidence."
    assert told.errs == "A model that is truly 1 point worse passes about 5 times in 100."
    assert "1,713 at 2 %, 4,282 at 5 %, 8,564 at 10 %" in told.rows
    assert told.rows.endswith("Never fewer than 268.")  # z^2 (1 - m) / m = 267.9


def test_a_value_on_its_own_states_no_error_rate() -> None:
    told = explaining.explained(rule("at_most", "quality.flips", limit=0.1))
    assert told.proves == "On the rows that were measured it is 0.1 or less."
    assert told.errs.startswith("None is stated.")
    assert "2.5 times in 100" in explaining.explained(rule("at_least_surely", "ood.auroc", limit=0.9)).errs


def test_whom_a_rule_is_for_is_said() -> None:
    pruned = rule("at_most", "efficiency.size_ratio", limit=0.9, subject=Subject.PRUNED)
    assert explaining.explained(pruned).judges.endswith("pruned models only")


def test_the_terms_are_sentences_with_their_numbers() -> None:
    told = " ".join(explaining.terms(load_policy("high-risk")))
    for words in ("2 people", "signature of their own", "5 % of the requests", "2,000", "Nobody can take on"):
        assert words in told
    assert "a click that the service attests counts" in " ".join(explaining.terms(load_policy("standard")))


def test_the_catalogue_names_every_gate_parameter_and_measurement(tmp_path) -> None:
    with plugged.example(tmp_path):
        assert [each["gate"] for each in explaining.gates()] == list(GATES)
        assert [each["measurement"] for each in explaining.measurements()] == list(MEASUREMENTS)
        assert f"{plugged.RECALL}/recall" in MEASUREMENTS


def test_a_packages_gate_is_explained_by_what_the_package_says(tmp_path) -> None:
    name = f"{plugged.RECALL}/every_slice_at_least"
    with plugged.example(tmp_path):
        told = explaining.explained(rule(name, f"{plugged.RECALL}/recall", limit=0.8))
    assert told.proves.startswith("No slice of the number is below the limit. limit 0.8")
    assert plugged.RECALL in told.errs
