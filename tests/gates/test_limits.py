import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneguard.evidence import Estimate, Measurement, PairedTable
from pruneguard.verdict import Finding, Outcome
from tests.gates.cases import finding

NAME = "quality.flips"
LIMIT = 0.25
FINITE = st.floats(-10, 10)


def found(gate: str, measurement: Measurement | None) -> Finding:
    return finding(gate, NAME, {} if measurement is None else {NAME: measurement}, limit=LIMIT)


@pytest.mark.parametrize("gate", ["at_most", "at_least"])
def test_the_limit_itself_passes(gate: str) -> None:
    assert found(gate, Estimate(LIMIT)).outcome is Outcome.PASSED


@pytest.mark.parametrize(("gate", "beyond"), [("at_most", 1.0), ("at_least", 0.0)])
def test_the_next_number_beyond_the_limit_fails_and_does_not_read_as_the_limit(gate: str, beyond: float) -> None:
    value = math.nextafter(LIMIT, beyond)
    result = found(gate, Estimate(value))
    assert result.outcome is Outcome.FAILED
    assert repr(value) in result.observed


@pytest.mark.parametrize("gate", ["at_most", "at_least", "at_most_surely", "at_least_surely"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_finite_number_is_no_evidence(gate: str, value: float) -> None:
    assert found(gate, Estimate(value, 0.0, 1.0)).outcome is Outcome.NO_EVIDENCE


@pytest.mark.parametrize("gate", ["at_most", "at_least", "at_most_surely", "at_least_surely"])
def test_a_missing_measurement_is_no_evidence_and_named(gate: str) -> None:
    result = found(gate, None)
    assert result.outcome is Outcome.NO_EVIDENCE
    assert NAME in result.observed


def test_a_table_where_a_number_is_expected_is_no_evidence() -> None:
    result = finding("at_most", NAME, {NAME: PairedTable(1, 0, 0, 0)}, limit=LIMIT)
    assert (result.outcome, "paired table" in result.observed) == (Outcome.NO_EVIDENCE, True)


@pytest.mark.parametrize(
    ("gate", "low", "high", "outcome"),
    [
        ("at_most_surely", 0.1, LIMIT, Outcome.PASSED),
        ("at_most_surely", 0.1, math.nextafter(LIMIT, 1), Outcome.UNDERPOWERED),
        ("at_least_surely", LIMIT, 0.9, Outcome.PASSED),
        ("at_least_surely", math.nextafter(LIMIT, 0), 0.9, Outcome.UNDERPOWERED),
    ],
)
def test_a_sure_gate_asks_the_far_end_of_the_interval(gate: str, low: float, high: float, outcome: Outcome) -> None:
    assert found(gate, Estimate(LIMIT, low, high, 100)).outcome is outcome


@pytest.mark.parametrize(("gate", "value"), [("at_most_surely", 0.26), ("at_least_surely", 0.24)])
def test_a_sure_gate_fails_a_value_beyond_the_limit_whatever_the_interval_says(gate: str, value: float) -> None:
    assert found(gate, Estimate(value, LIMIT, LIMIT)).outcome is Outcome.FAILED


@pytest.mark.parametrize("gate", ["at_most_surely", "at_least_surely"])
@pytest.mark.parametrize("end", [None, math.nan, math.inf])
def test_a_missing_interval_is_no_evidence_to_a_sure_gate(gate: str, end: float | None) -> None:
    assert found(gate, Estimate(LIMIT, end, end)).outcome is Outcome.NO_EVIDENCE


@given(FINITE, FINITE, st.sampled_from(["at_most", "at_least"]))
def test_a_worse_measurement_never_turns_a_no_into_a_pass(a: float, b: float, gate: str) -> None:
    better, worse = sorted((a, b), reverse=gate == "at_least")
    if found(gate, Estimate(worse)).allows:
        assert found(gate, Estimate(better)).allows


@given(FINITE, st.floats(0, 5), st.floats(0, 5), st.sampled_from(["at_most", "at_least"]))
def test_what_a_sure_gate_passes_the_plain_gate_passes_too(x: float, below: float, above: float, gate: str) -> None:
    estimate = Estimate(x, x - below, x + above)
    if found(f"{gate}_surely", estimate).allows:
        assert found(gate, estimate).allows


@pytest.mark.parametrize(
    ("gate", "value", "flip"),
    [
        ("at_most", 0.3, "lower by 0.05"),
        ("at_most", 0.2, "higher by more than 0.05"),
        ("at_least", 0.3, "lower by more than 0.05"),
        ("at_least", 0.2, "higher by 0.05"),
        ("at_most", LIMIT, "higher by anything"),
        ("at_least", LIMIT, "lower by anything"),
    ],
)
def test_the_finding_names_the_number_that_would_flip_it(gate: str, value: float, flip: str) -> None:
    assert found(gate, Estimate(value)).flip == flip


def test_the_finding_shows_value_interval_rows_unit_limit_and_remedy() -> None:
    result = finding("at_most", NAME, {NAME: Estimate(0.125, 0.1, 0.15, 450, "s")}, limit=LIMIT)
    assert result.observed == "0.125 s (0.1 to 0.15, n 450)"
    assert (result.required, result.remedy) == ("<= 0.25", "the remedy")
