import numpy as np
import pytest

from pruneguard.evaluation.efficiency import cost, latency
from pruneguard.evaluation.evaluate import evaluate


def test_energy_and_price_follow_from_processor_time_as_stated(monkeypatch, pair, digits):
    taken = np.array([[0.001, 9.0], [0.003, 9.0], [0.002, 9.0]])  # the twin's column is not the candidate's cost
    monkeypatch.setattr(latency, "answers", lambda ours, theirs, batch: taken)
    found = cost.measure(pair, digits.gate.x)
    seconds, energy, dollars = (found[f"efficiency.cost.{name}"] for name in ("cpu", "energy", "dollars"))
    assert (seconds.value, seconds.unit, seconds.n) == (pytest.approx(2.0), "s", 3)
    assert (energy.value, energy.unit) == (pytest.approx(20.0), "J")
    assert (dollars.value, dollars.unit) == (pytest.approx(2.0 * 0.04 / 3600), "USD")
    assert seconds.high - seconds.value == pytest.approx(1.96 * taken[:, 0].std() / 3**0.5 * 1000)


def test_energy_follows_what_a_core_is_said_to_draw_and_the_method_says_so(monkeypatch, pair, digits):
    monkeypatch.setattr(latency, "answers", lambda ours, theirs, batch: np.array([[0.002, 9.0]] * 3))
    found = cost.measure(pair, digits.gate.x, watts_per_core=25)
    assert found["efficiency.cost.energy"].value == pytest.approx(50.0)
    assert found["efficiency.cost.dollars"].value == pytest.approx(2.0 * 0.04 / 3600)
    assert "25 W and 0.04 dollars" in cost.method(25)
    assert "not metered" in cost.method(25)


def test_evidence_states_the_watts_that_it_assumes(twin, digits, quick):
    wanted = ("efficiency.cost.cpu", "efficiency.cost.energy")
    asked = {"split": "gate", "seed": 0, "wanted": wanted, "all_else": False}
    found = evaluate(twin, twin, digits, **asked, watts_per_core=25)
    seconds, joules = (found.get(name).value for name in wanted)
    assert joules == pytest.approx(25 * seconds)
    assert "25 W" in found.context["cost"]


def test_a_networks_answers_cost_something_surely(pair, digits, quick):
    for name, estimate in cost.measure(pair, digits.gate.x).items():
        assert 0 < estimate.low <= estimate.value <= estimate.high, name
